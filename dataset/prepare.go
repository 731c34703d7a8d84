package dataset

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"leolm/chat"
	"leolm/dataset/rows"
	"leolm/internal/durable"
	"leolm/internal/pynum"
	"leolm/internal/textcheck"
)

// Report is what Prepare did.
type Report struct {
	Prefix  string   `json:"prefix"` // path of the output files up to -train, -val
	Preset  string   `json:"preset"`
	Vocab   int      `json:"vocab"`
	Train   []*Stats `json:"train"`
	Val     []*Stats `json:"val,omitempty"`
	Notes   []string `json:"notes,omitempty"` // what the user should know
	Sources []Intake `json:"sources"`
}

// Intake is what was read of a source, before splits.
type Intake struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`               // rows of the files
	Unwanted int64  `json:"unwanted,omitempty"` // left out by where: or by the reader
	Repaired int64  `json:"repaired,omitempty"` // mojibake repaired
	Samples  int    `json:"samples"`
}

// PrepareOptions are what is not part of the mix.
type PrepareOptions struct {
	// Progress is told, now and then, how many rows of a source were read.
	Progress func(source string, rows int64)
	// Workers that tokenise; 0: one per processor.
	Workers int
}

// Prepare reads a mix and writes its shards and statistics into a folder,
// which is made if needed:
//
//	PREFIX-train-text.bin/.idx, PREFIX-train-role.bin/.idx, PREFIX-train_stats.txt,
//	PREFIX-train_stats.json, the same for -val if there is a validation set,
//	PREFIX-train.jsonl and -val.jsonl on request, PREFIX_skipped.jsonl,
//	special_tokens.json
//
// Every file appears whole or not at all, the indices last.
func Prepare(ctx context.Context, m *Mix, dir string, opt PrepareOptions) (*Report, error) {
	p := &preparation{mix: m, dir: dir, opt: opt, report: &Report{Prefix: filepath.Join(dir, m.Prefix), Preset: m.Preset}}
	defer p.close()
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	if err := p.write(ctx); err != nil {
		return nil, err
	}
	return p.report, nil
}

// Measure is Prepare with the output thrown away: the statistics only.
func Measure(ctx context.Context, m *Mix, opt PrepareOptions) (*Report, error) {
	tmp, err := os.MkdirTemp("", "leo-measure-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	report, err := Prepare(ctx, m, tmp, opt)
	if report != nil {
		report.Prefix = m.Prefix
	}
	return report, err
}

// part is a source after reading: its samples on disk, in reading order.
type part struct {
	src     *Source
	spill   *spill
	samples []sampleInfo
	// indices of the samples of each split, in output order
	train, val []int
	fraction   float64
	split      bool // the name says "Subset of"
}

// sampleInfo is what is remembered of a sample.
type sampleInfo struct {
	at     int64 // in the spill file
	tokens int32
	turns  int32
	skip   Reason
}

type preparation struct {
	mix    *Mix
	dir    string
	opt    PrepareOptions
	enc    *encoder
	check  *checker
	dups   *duplicates
	parts  []*part
	report *Report
	skips  *durable.File
	list   *bufio.Writer
	trainS []*Stats
	valS   []*valSet
}

// valSet is one validation set: several sources may share one (see split).
type valSet struct {
	part  *part
	stats *Stats
}

func (p *preparation) close() {
	for _, part := range p.parts {
		if part.spill != nil {
			part.spill.close()
		}
	}
	if p.skips != nil {
		p.skips.Abort()
	}
}

// read reads, filters and tokenises all sources into spill files.
func (p *preparation) read(ctx context.Context) error {
	m := p.mix
	if m.Preset == presetLeoLM && (m.Template != "" || m.System != "") {
		return errors.New("preset leolm has its own template and no system message: leave template and system out, or use preset default")
	}
	var err error
	if p.enc, err = newEncoder(m); err != nil {
		return err
	}
	p.report.Vocab = p.enc.tok().Vocab()
	if p.check, err = newChecker(m); err != nil {
		return err
	}
	if m.Filters.Duplicates || m.Filters.NearDuplicates {
		p.dups = newDuplicates(m.Filters.NearDuplicates)
	}
	// All names first: a missing file should not cost an hour.
	files := make([][]string, len(m.Sources))
	for i := range m.Sources {
		if files[i], err = m.files(&m.Sources[i]); err != nil {
			return err
		}
	}
	if err := durable.MkdirAll(p.dir); err != nil {
		return err
	}
	if p.skips, err = durable.Create(filepath.Join(p.dir, m.Prefix+"_skipped.jsonl")); err != nil {
		return err
	}
	p.list = bufio.NewWriter(p.skips)
	for i := range m.Sources {
		if err := p.readSource(ctx, i, files[i]); err != nil {
			return err
		}
	}
	return nil
}

// outcome is what a worker made of one dialogue, or of a row without any.
type outcome struct {
	row      *rows.Row
	ids      int // where its ids and roles end in the job's arrays
	turns    int
	answer   int // tokens of assistant turns
	text     string
	why      Reason
	detail   string
	repaired bool
	unwanted bool
	dup      fingerprint
	err      error
}

// job is a batch of rows on its way through the workers.
type job struct {
	rows  []rows.Row
	ready []placed // instead of rows: dialogues of a whole reader
	done  chan struct{}

	out   []outcome
	ids   []int32
	roles []uint8
	fail  error
}

// jobRows is the number of rows in a job.
const jobRows = 64

func (p *preparation) readSource(ctx context.Context, index int, files []string) error {
	m := p.mix
	src := &m.Sources[index]
	reader, err := m.open(src)
	if err != nil {
		return err
	}
	pt := &part{src: src}
	p.parts = append(p.parts, pt)
	if pt.spill, err = newSpill(p.dir, p.enc.tok().Vocab()); err != nil {
		return err
	}
	intake := Intake{Name: src.Name}

	workers := p.opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	work, ordered := make(chan *job, 2*workers), make(chan *job, 4*workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var hasher *textcheck.Hasher
			for j := range work {
				if p.dups != nil && hasher == nil {
					hasher, j.fail = textcheck.NewHasher(textcheck.DefaultMinHash)
				}
				if j.fail == nil {
					p.run(j, reader, hasher)
				}
				close(j.done)
			}
		}()
	}
	var produceErr error
	go func() {
		produceErr = p.produce(ctx, reader, files, func(j *job) bool {
			j.done = make(chan struct{})
			select {
			case ordered <- j:
			case <-ctx.Done():
				return false
			}
			work <- j
			return true
		})
		close(work)
		close(ordered)
	}()
	var failed error
	for j := range ordered {
		<-j.done
		if failed != nil {
			continue
		}
		if failed = j.fail; failed == nil {
			failed = p.collect(index, pt, j, &intake)
		}
		if failed != nil {
			cancel()
			continue
		}
		if p.opt.Progress != nil {
			p.opt.Progress(src.Name, intake.Rows)
		}
	}
	wg.Wait()
	cause := context.Cause(ctx)
	cancel()
	// A row that came earlier in the file is the error to tell.
	if failed == nil {
		failed = produceErr
	}
	if failed == nil && cause != nil {
		failed = cause
	}
	if failed != nil {
		return fmt.Errorf("source %s: %w", src.Name, failed)
	}
	intake.Samples = len(pt.samples)
	if len(pt.samples) == 0 {
		return fmt.Errorf("source %s: no samples in %s", src.Name, strings.Join(files, ", "))
	}
	p.report.Sources = append(p.report.Sources, intake)
	return pt.spill.flush()
}

// eachRow calls f for every row, until an error of the reader or of f.
func eachRow(r *rows.Reader, f func(*rows.Row) error) error {
	for {
		var row rows.Row
		err := r.Next(&row)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f(&row)
		}
		if err != nil {
			return err
		}
	}
}

// produce cuts files into jobs. Rows that cannot be cut are put into the job
// as outcomes, in their place.
func (p *preparation) produce(ctx context.Context, reader *sourceReader, files []string, send func(*job) bool) error {
	var all []readRow
	for _, file := range files {
		r, err := rows.Open(file, rows.Options{Format: reader.src.Format, Columns: reader.src.Header, Path: p.rowPath(reader, file), MaxRow: p.mix.MaxRow})
		if err != nil {
			return err
		}
		j := &job{}
		for {
			var row rows.Row
			err := r.Next(&row)
			if err == io.EOF {
				break
			}
			var bad *rows.Error
			if err != nil && (!errors.As(err, &bad) || bad.Fatal) {
				r.Close()
				// What was read before is judged first: its errors come earlier.
				if len(j.rows)+len(j.out) > 0 && !send(j) {
					return context.Cause(ctx)
				}
				return err
			}
			if reader.whole != nil {
				if err == nil {
					var v rows.Value
					if v, err = row.Value(); err == nil {
						copied := row
						all = append(all, readRow{&copied, v})
						continue
					}
				}
				j.out = append(j.out, outcome{row: &row, err: err})
				continue
			}
			if err != nil {
				// Close the job, so that the order of rows is kept.
				if len(j.rows) > 0 && !send(j) {
					r.Close()
					return context.Cause(ctx)
				}
				if j = (&job{out: []outcome{{row: &row, err: err}}}); !send(j) {
					r.Close()
					return context.Cause(ctx)
				}
				j = &job{}
				continue
			}
			j.rows = append(j.rows, row)
			if len(j.rows) == jobRows {
				if !send(j) {
					r.Close()
					return context.Cause(ctx)
				}
				j = &job{}
			}
		}
		r.Close()
		if len(j.rows)+len(j.out) > 0 && !send(j) {
			return context.Cause(ctx)
		}
	}
	if reader.whole == nil {
		return nil
	}
	ready, err := reader.whole(reader, all)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(ready, jobRows) {
		if !send(&job{ready: chunk}) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// rowPath is where the rows of a file are: as the mix says, else as the
// reader is used to for files of one object.
func (p *preparation) rowPath(reader *sourceReader, file string) string {
	if reader.src.Path != "" {
		return reader.src.Path
	}
	format := reader.src.Format
	if format == "" {
		format, _ = rows.FormatOf(file)
	}
	if reader.path != "" && (format == "json" || format == "yaml") && !startsWithArray(file) {
		return reader.path
	}
	return ""
}

// startsWithArray tells whether an uncompressed JSON file is an array.
func startsWithArray(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head)
	return strings.HasPrefix(strings.TrimSpace(string(head[:n])), "[")
}

// run converts, checks and tokenises the rows of a job.
func (p *preparation) run(j *job, reader *sourceReader, hasher *textcheck.Hasher) {
	for i := range j.ready {
		p.dialogue(j, j.ready[i].row, &j.ready[i].dlg, hasher)
	}
	for i := range j.rows {
		row := &j.rows[i]
		v, err := row.Value()
		var dialogues []Dialogue
		wanted := true
		if err == nil {
			wanted, err = reader.matches(row, &v)
		}
		if err == nil && wanted {
			dialogues, err = reader.convert(reader, row, &v)
		}
		if err != nil {
			j.out = append(j.out, outcome{row: row, err: err, ids: len(j.ids)})
			continue
		}
		if p.mix.Preset == presetLeoLM {
			// LeoLM's readers dropped dialogues of odd length.
			dialogues = slices.DeleteFunc(dialogues, func(d Dialogue) bool { return len(d.Turns)%2 != 0 })
		}
		if len(dialogues) == 0 {
			j.out = append(j.out, outcome{row: row, unwanted: true, ids: len(j.ids)})
		}
		for k := range dialogues {
			p.dialogue(j, row, &dialogues[k], hasher)
		}
	}
}

func (p *preparation) dialogue(j *job, row *rows.Row, d *Dialogue, hasher *textcheck.Hasher) {
	o := outcome{row: row, turns: len(d.Turns)}
	if d.System == "" {
		d.System = p.mix.System
	}
	o.why, o.detail, o.repaired = p.check.check(d)
	if o.why == "" {
		from := len(j.ids)
		var err error
		if j.ids, j.roles, o.text, err = p.enc.encode(d, j.ids, j.roles); err != nil {
			e := row.Errorf("", "cannot be encoded")
			e.Err = err
			o.err = e
		}
		for _, r := range j.roles[from:] {
			if r == roleAssistant {
				o.answer++
			}
		}
		f, n := &p.mix.Filters, len(j.ids)-from
		switch {
		case n < f.MinTokens:
			o.why, o.detail = ReasonShort, fmt.Sprintf("%d tokens, the bound is %d", n, f.MinTokens)
		case f.MaxTokens > 0 && n > f.MaxTokens:
			o.why, o.detail = ReasonLong, fmt.Sprintf("%d tokens, the bound is %d", n, f.MaxTokens)
		case o.answer < p.mix.MinAssistantTokens:
			o.why, o.detail = ReasonAnswer, fmt.Sprintf("%d assistant tokens, the bound is %d", o.answer, p.mix.MinAssistantTokens)
		}
		if hasher != nil {
			if p.dups.bands != nil {
				o.dup.exact, o.dup.bands, o.dup.ok = hasher.Keys(nil, d.Text())
			} else {
				o.dup.exact, o.dup.ok = hasher.Exact(d.Text())
			}
		}
		if !p.mix.JSONL {
			o.text = ""
		} else if o.text == "" {
			var b strings.Builder
			d.chatML(func(_ chat.Role, text string) { b.WriteString(text) })
			o.text = b.String()
		}
	}
	o.ids = len(j.ids)
	j.out = append(j.out, o)
}

// collect takes a finished job, in order.
func (p *preparation) collect(index int, pt *part, j *job, intake *Intake) error {
	from := 0
	for i := range j.out {
		o := &j.out[i]
		ids, roles := j.ids[from:o.ids], j.roles[from:o.ids]
		from = o.ids
		if i == 0 || o.row != j.out[i-1].row {
			intake.Rows++
		}
		if o.unwanted {
			intake.Unwanted++
			continue
		}
		if o.err != nil {
			var bad *rows.Error
			if p.mix.OnError != "skip" || !errors.As(o.err, &bad) {
				return fmt.Errorf("%w (on_error: skip leaves such rows out and lists them)", o.err)
			}
			o.why, o.detail = ReasonUnreadable, o.err.Error()
		}
		if o.repaired {
			intake.Repaired++
		}
		if o.why == "" && p.dups != nil {
			of, why := p.dups.add(o.dup, sampleRef{int32(index), o.row.Number})
			if why != "" {
				o.why, o.detail = why, fmt.Sprintf("of row %d of %s", of.row, p.mix.Sources[of.source].Name)
			}
		}
		info := sampleInfo{skip: o.why, turns: int32(o.turns)}
		if o.why != "" {
			if err := p.listSkip(pt.src, o); err != nil {
				return err
			}
		} else {
			info.tokens = int32(len(ids))
			var err error
			if info.at, err = pt.spill.add(ids, roles, o.text); err != nil {
				return err
			}
		}
		pt.samples = append(pt.samples, info)
	}
	return nil
}

// listSkip writes a line about a skipped sample.
func (p *preparation) listSkip(src *Source, o *outcome) error {
	line, err := json.Marshal(struct {
		Source string `json:"source"`
		File   string `json:"file"`
		Row    int64  `json:"row"`
		Line   int64  `json:"line,omitempty"`
		Reason Reason `json:"reason"`
		Detail string `json:"detail,omitempty"`
	}{src.Name, o.row.File, o.row.Number, o.row.Line, o.why, o.detail})
	if err != nil {
		return err
	}
	_, err = p.list.Write(append(line, '\n'))
	return err
}

// split decides which samples go where, in which order.
func (p *preparation) split() error {
	m := p.mix
	leolm := m.Preset == presetLeoLM
	// One generator over all sources in order, as in the original: for the
	// training subsets RandomState(seed), for max_val_set NumPy's global one.
	draw, drawVal := pynum.NewRandomState(m.Seed), pynum.NewRandomState(m.Seed)
	evals := map[string]int{}
	for _, pt := range p.parts {
		n := len(pt.samples)
		pt.train = make([]int, n)
		for i := range pt.train {
			pt.train[i] = i
		}
		if share := m.valSplit(pt.src); share > 0 {
			train, val, err := pynum.TrainTestSplit(n, share, m.SplitSeed)
			if err != nil {
				return fmt.Errorf("source %s: val_split %v of %d samples: %w", pt.src.Name, share, n, err)
			}
			pt.train, pt.val, pt.split = train, val, true
		}
		if k := pt.src.MaxVal; k > 0 && len(pt.val) > k {
			pt.val = pick(pt.val, drawVal.Choice(len(pt.val), k))
		}
		if m.EvalSize > 0 && len(pt.val) > m.EvalSize {
			pt.val = pt.val[:m.EvalSize]
		}
		if len(pt.val) == 0 {
			continue
		}
		// The original keeps validation sets in a dictionary by the reader's
		// name: of sources with the same reader only the last one survives,
		// at the place of the first.
		key := pt.src.Reader
		if o := readers[pt.src.Reader].original; o != "" {
			key = o
		}
		if at, again := evals[key]; leolm && again {
			p.note("validation set of %s: left out, because %s has the same reader (%s) and the original keeps one set per reader", p.valS[at].part.src.Name, pt.src.Name, key)
			p.valS[at] = &valSet{part: pt}
			continue
		}
		evals[key] = len(p.valS)
		p.valS = append(p.valS, &valSet{part: pt})
	}
	for _, pt := range p.parts {
		n := len(pt.train)
		target := n
		pt.fraction = 1
		switch {
		case pt.src.Fraction != nil:
			pt.fraction = *pt.src.Fraction
			target = int(float64(n) * pt.fraction)
		case pt.src.Size != nil:
			if *pt.src.Size > n {
				return fmt.Errorf("source %s: size %d, but there are %d training samples", pt.src.Name, *pt.src.Size, n)
			}
			pt.fraction = float64(*pt.src.Size) / float64(n)
			target = *pt.src.Size
			if leolm { // through floating point, which may lose one sample
				target = int(float64(n) * pt.fraction)
			}
		}
		if target < n {
			pt.train = pick(pt.train, draw.Choice(n, target))
			pt.split = true
		}
	}
	return nil
}

func pick(from, indices []int) []int {
	out := make([]int, len(indices))
	for i, k := range indices {
		out[i] = from[k]
	}
	return out
}

func (p *preparation) note(format string, args ...any) {
	p.report.Notes = append(p.report.Notes, fmt.Sprintf(format, args...))
}

// count starts the statistics of both splits and fills in all but roles.
func (p *preparation) count() {
	name := func(pt *part) string {
		if pt.split && p.mix.Preset == presetLeoLM {
			return "Subset of " + pt.src.Name
		}
		return pt.src.Name
	}
	fill := func(pt *part, indices []int, fraction float64) *Stats {
		s := NewStats(name(pt), len(indices), fraction)
		for _, i := range indices {
			info := &pt.samples[i]
			if info.skip != "" {
				s.Skip(info.skip)
				continue
			}
			s.Add(int(info.tokens))
			s.Turns[int(info.turns)]++
		}
		return s
	}
	for _, pt := range p.parts {
		p.trainS = append(p.trainS, fill(pt, pt.train, pt.fraction))
	}
	p.report.Train = p.trainS
	for _, v := range p.valS {
		v.stats = fill(v.part, v.part.val, 1)
		p.report.Val = append(p.report.Val, v.stats)
	}
}

// write writes both splits.
func (p *preparation) write(ctx context.Context) error {
	if err := p.split(); err != nil {
		return err
	}
	p.count()
	var trainParts, valParts []*part
	var trainIdx, valIdx [][]int
	for _, pt := range p.parts {
		trainParts, trainIdx = append(trainParts, pt), append(trainIdx, pt.train)
	}
	for _, v := range p.valS {
		valParts, valIdx = append(valParts, v.part), append(valIdx, v.part.val)
	}
	if err := p.list.Flush(); err != nil {
		return err
	}
	if err := p.skips.Commit(); err != nil {
		return err
	}
	if err := p.writeSpecials(); err != nil {
		return err
	}
	if err := p.writeSplit(ctx, "val", valParts, valIdx, p.report.Val); err != nil {
		return err
	}
	return p.writeSplit(ctx, "train", trainParts, trainIdx, p.report.Train)
}

func (p *preparation) writeSplit(ctx context.Context, split string, parts []*part, indices [][]int, stats []*Stats) error {
	prefix := p.report.Prefix + "-" + split
	if len(parts) == 0 {
		// Files of an earlier run with a validation set must not stay.
		for _, ext := range [...]string{"-text.idx", "-role.idx", "-text.bin", "-role.bin", "_stats.txt", "_stats.json", ".jsonl"} {
			if err := os.Remove(prefix + ext); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	w, err := NewShardWriter(prefix, p.enc.tok().Vocab())
	if err != nil {
		return err
	}
	defer w.Abort()
	var jsonl *durable.File
	var lines *bufio.Writer
	if p.mix.JSONL {
		if jsonl, err = durable.Create(prefix + ".jsonl"); err != nil {
			return err
		}
		defer jsonl.Abort()
		lines = bufio.NewWriterSize(jsonl, 1<<20)
	}
	var sample Sample
	var buf []byte
	for k, pt := range parts {
		roleTokens := [256]int64{}
		for n, i := range indices[k] {
			if n%4096 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			info := &pt.samples[i]
			if info.skip != "" {
				continue
			}
			var text string
			if text, buf, err = pt.spill.read(info, &sample, buf, p.mix.JSONL); err != nil {
				return err
			}
			if err := w.Add(sample); err != nil {
				return err
			}
			for _, r := range sample.Roles {
				roleTokens[r]++
			}
			if lines != nil {
				buf = appendPythonJSON(append(buf[:0], `{"text": `...), text)
				if _, err := lines.Write(append(buf, "}\n"...)); err != nil {
					return err
				}
			}
		}
		for r, n := range roleTokens {
			if n > 0 {
				stats[k].RoleTokens[chat.Role(r).String()] = n
			}
		}
	}
	if lines != nil {
		if err := lines.Flush(); err != nil {
			return err
		}
		if err := jsonl.Commit(); err != nil {
			return err
		}
	}
	if err := durable.WriteTo(prefix+"_stats.txt", func(out io.Writer) error { return WriteBlock(out, prefix, stats) }); err != nil {
		return err
	}
	tok, err := filepath.Abs(p.mix.path(p.mix.Tokenizer))
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(statsFile{p.mix.Preset, tok, p.report.Vocab, stats}, "", " ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(prefix+"_stats.json", append(data, '\n')); err != nil {
		return err
	}
	return w.Commit()
}

// writeSpecials writes special_tokens.json as Python's json.dump does.
func (p *preparation) writeSpecials() error {
	names, ids := p.enc.specials()
	b := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(appendPythonJSON(b, name), ": "...)
		b = strconv.AppendInt(b, int64(ids[i]), 10)
	}
	return durable.WriteFile(filepath.Join(p.dir, "special_tokens.json"), append(b, '}'))
}

// appendPythonJSON appends a string as Python's json.dump writes it by
// default: everything outside of printable ASCII escaped.
func appendPythonJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	unit := func(x rune) {
		b = append(b, '\\', 'u', hex[x>>12&15], hex[x>>8&15], hex[x>>4&15], hex[x&15])
	}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r >= ' ' && r < 0x7f:
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			unit(hi)
			unit(lo)
		default:
			unit(r)
		}
	}
	return append(b, '"')
}

// spill keeps tokenised samples on disk between reading and writing, because
// the split is known only when all rows are.
type spill struct {
	f    *os.File
	w    *bufio.Writer
	wide bool // ids of four bytes
	at   int64
	tmp  []byte
}

func newSpill(dir string, vocab int) (*spill, error) {
	f, err := os.CreateTemp(dir, ".leo-spill-*")
	if err != nil {
		return nil, explainFull(dir, err)
	}
	// The name goes at once where the system allows it, so that nothing stays
	// behind after a crash.
	os.Remove(f.Name())
	return &spill{f: f, w: bufio.NewWriterSize(f, 1<<20), wide: vocab > 1<<16}, nil
}

func (s *spill) close() {
	s.f.Close()
	os.Remove(s.f.Name())
}

func (s *spill) flush() error { return explainFull(filepath.Dir(s.f.Name()), s.w.Flush()) }

// explainFull says of a full disk what can be done.
func explainFull(dir string, err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	free, ferr := durable.FreeSpace(dir)
	if ferr != nil {
		free = -1
	}
	return &durable.SpaceError{Path: dir, Free: free, Err: err}
}

func (s *spill) add(ids []int32, roles []uint8, text string) (at int64, err error) {
	b := s.tmp[:0]
	for _, id := range ids {
		b = append(b, byte(id), byte(id>>8))
		if s.wide {
			b = append(b, byte(id>>16), byte(id>>24))
		}
	}
	b = append(b, roles...)
	if text != "" {
		b = append(b, byte(len(text)), byte(len(text)>>8), byte(len(text)>>16), byte(len(text)>>24))
		b = append(b, text...)
	}
	s.tmp = b
	at = s.at
	s.at += int64(len(b))
	_, err = s.w.Write(b)
	return at, explainFull(filepath.Dir(s.f.Name()), err)
}

// read brings a sample back; buf is scratch memory that is handed around.
func (s *spill) read(info *sampleInfo, out *Sample, buf []byte, withText bool) (text string, _ []byte, err error) {
	n, width := int(info.tokens), 2
	if s.wide {
		width = 4
	}
	size := n * (width + 1)
	buf = slices.Grow(buf[:0], size+4)[:size]
	if withText {
		buf = buf[:size+4]
	}
	if _, err := s.f.ReadAt(buf, info.at); err != nil {
		return "", buf, fmt.Errorf("reading back temporary data: %w", err)
	}
	out.IDs, out.Roles = out.IDs[:0], append(out.Roles[:0], buf[n*width:size]...)
	for i := range n {
		id := int32(buf[i*width]) | int32(buf[i*width+1])<<8
		if s.wide {
			id |= int32(buf[i*width+2])<<16 | int32(buf[i*width+3])<<24
		}
		out.IDs = append(out.IDs, id)
	}
	if withText {
		l := int(buf[size]) | int(buf[size+1])<<8 | int(buf[size+2])<<16 | int(buf[size+3])<<24
		raw := make([]byte, l)
		if _, err := s.f.ReadAt(raw, info.at+int64(size)+4); err != nil {
			return "", buf, fmt.Errorf("reading back temporary data: %w", err)
		}
		if text = string(raw); !utf8.ValidString(text) {
			return "", buf, errors.New("reading back temporary data: text is broken")
		}
	}
	return text, buf, nil
}
