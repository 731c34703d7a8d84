package dataset

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf16"

	"leolm/dataset/shard"
	"leolm/internal/durable"
)

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
	if err := p.enc.files.Write(p.report.Prefix + "-tokenizer"); err != nil {
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
		for _, ext := range [...]string{".leo.json", "-text.idx", "-role.idx", "-text.bin", "-role.bin", "_stats.txt", "_stats.json", ".jsonl"} {
			if err := os.Remove(prefix + ext); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	w, err := shard.NewWriter(prefix, shard.Record{
		Tokenizer: p.enc.fingerprint, TokenizerDir: filepath.Base(p.report.Prefix) + "-tokenizer", Vocab: p.enc.tok.Vocab(),
		Template: p.enc.template.Source(), TemplateName: p.enc.template.Name(),
	})
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
	out := &sampleWriter{shards: w, lines: lines}
	for k, pt := range parts {
		if err := out.write(ctx, pt, indices[k], stats[k]); err != nil {
			return err
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
	if err := p.writeStats(prefix, stats); err != nil {
		return err
	}
	return w.Commit()
}

// sampleWriter writes samples of spill files into a split.
type sampleWriter struct {
	shards *shard.Writer
	lines  *bufio.Writer // the text of each, as JSONL; nil: not wanted
	sample shard.Sample
	buf    []byte
}

// write writes the samples of a part that were not skipped, and counts their roles.
func (o *sampleWriter) write(ctx context.Context, pt *part, indices []int, stats *Stats) (err error) {
	roleTokens := [256]int64{}
	for n, i := range indices {
		if n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		info := &pt.samples[i]
		if info.skip != "" {
			continue
		}
		var text string
		if text, o.buf, err = pt.spill.read(info, &o.sample, o.buf, o.lines != nil); err != nil {
			return err
		}
		if err := o.shards.Add(o.sample); err != nil {
			return err
		}
		for _, r := range o.sample.Roles {
			roleTokens[r]++
		}
		if o.lines != nil {
			o.buf = appendPythonJSON(append(o.buf[:0], `{"text": `...), text)
			if _, err := o.lines.Write(append(o.buf, "}\n"...)); err != nil {
				return err
			}
		}
	}
	for r, n := range roleTokens {
		if n > 0 {
			stats.RoleTokens[shard.RoleOf(uint8(r)).String()] += n
		}
	}
	return nil
}

// writeStats writes the statistics of a split, for people and for programs.
func (p *preparation) writeStats(prefix string, stats []*Stats) error {
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
	return durable.WriteFile(prefix+"_stats.json", append(data, '\n'))
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
