package report

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var demo = flag.String("demo", "", "write a sample report to this file, to look at")

func TestMetricsSurviveACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	m, err := OpenMetrics(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	for s := range int64(5) {
		if err := m.Write(Row{Step: s, Time: 1.5, Values: map[string]float64{"loss": 1 / float64(s), "lr": 3e-5}, Texts: map[string]string{"note": "größer\n\"<b>\""}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"step":5,"loss":0.`); err != nil { // the torn line
		t.Fatal(err)
	}
	f.Close()
	if rows, err := ReadMetrics(path); err != nil || len(rows) != 5 || !math.IsInf(rows[0].Values["loss"], 1) || rows[4].Texts["note"] != "größer\n\"<b>\"" {
		t.Fatalf("got %v, %v", rows, err)
	}
	m, err = OpenMetrics(path, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Write(Row{Step: 3, Values: map[string]float64{"loss": math.NaN()}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := ReadMetrics(path)
	if err != nil || len(rows) != 4 || rows[3].Step != 3 || !math.IsNaN(rows[3].Values["loss"]) || rows[3].Values["lr"] != 0 {
		t.Fatalf("got %v, %v", rows, err)
	}
	data, _ := os.ReadFile(path)
	want := `{"step":1,"time":1.5,"loss":1,"lr":0.00003,"note":"größer\n\"<b>\""}`
	if got := strings.Split(string(data), "\n")[1]; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMetricsRefuseDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.jsonl")
	for text, want := range map[string]string{"{\"step\":1}\nkaputt\n": "line 2", "{\"loss\":1}\n": "line 1", "{\"step\":1.5}\n": "line 1", "{\"step\":1,\"a\":[]}\n": `"a"`} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenMetrics(path, 5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to name %s", text, err, want)
		}
		if after, _ := os.ReadFile(path); string(after) != text {
			t.Errorf("%q: the file changed", text)
		}
	}
	m, err := OpenMetrics(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, r := range []Row{{Values: map[string]float64{"step": 1}}, {Values: map[string]float64{"a": 1}, Texts: map[string]string{"a": ""}}, {Texts: map[string]string{"a": "NaN"}}} {
		if m.Write(r) == nil {
			t.Errorf("%v: want an error", r)
		}
	}
	if data, _ := os.ReadFile(path); len(data) > 0 {
		t.Errorf("refused rows left %q", data)
	}
}

func FuzzParseRow(f *testing.F) {
	f.Add([]byte(`{"step":1,"time":2,"loss":"NaN","x":"y"}`))
	f.Add([]byte(`{"step":-3}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRow(line)
		if err != nil {
			return
		}
		out, err := r.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(out) {
			t.Fatalf("%s is no JSON", out)
		}
		again, err := ParseRow(out)
		if err != nil || again.Step != r.Step || len(again.Values) != len(r.Values) || len(again.Texts) != len(r.Texts) {
			t.Fatalf("%s: %v %v", out, again, err)
		}
	})
}

// readEvents checks lengths and checksums and returns the records.
func readEvents(t *testing.T, dir string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no event files (%v)", err)
	}
	var out [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			n := int(binary.LittleEndian.Uint64(b))
			if binary.LittleEndian.Uint32(b[8:]) != masked(b[:8]) || binary.LittleEndian.Uint32(b[12+n:]) != masked(b[12:12+n]) {
				t.Fatal("wrong checksum")
			}
			out = append(out, b[12:12+n])
			b = b[16+n:]
		}
	}
	return out
}

func TestEventBytes(t *testing.T) {
	dir := t.TempDir()
	e, err := openEvents(dir, -1, func() time.Time { return time.Unix(1, 500000000) })
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(Row{Step: 300, Values: map[string]float64{"a": 0.5}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	rec := readEvents(t, dir)
	// wall_time 1.5; file_version / step 300, summary { value { tag "a" simple_value 0.5 } }
	want := []string{
		"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x0dbrain.Event:2",
		"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01a\x15\x00\x00\x00\x3f",
	}
	for i := range want {
		if string(rec[i]) != want[i] {
			t.Errorf("record %d: got %x, want %x", i, rec[i], want[i])
		}
	}
	// The masked CRC-32C of "123456789" by the definition (CRC e3069283).
	c := uint32(0xe3069283)
	if got := masked([]byte("123456789")); got != (c>>15|c<<17)+0xa282ead8 {
		t.Errorf("masked CRC %x", got)
	}
}

// TensorBoard itself reads what we write, also across a resume.
func TestTensorBoardReads(t *testing.T) {
	python := cmp.Or(os.Getenv("LEO_PYTHON"), "python3")
	if err := exec.Command(python, "-c", "import tensorboard").Run(); err != nil {
		t.Skipf("needs Python with tensorboard (LEO_PYTHON names one): %v", err)
	}
	dir := t.TempDir()
	for _, part := range []struct{ resume, from, to int64 }{{-1, 1, 6}, {3, 4, 5}} {
		run, err := OpenRun(dir, part.resume)
		if err != nil {
			t.Fatal(err)
		}
		for s := part.from; s <= part.to; s++ {
			row := Row{Step: s, Values: map[string]float64{"loss": float64(s) + float64(max(part.resume, 0))*100, "lr": 1e-5}}
			row.AddSample(0, "Was ist <b>?", "Über **Größe** & Ähnliches")
			if err := run.Write(row); err != nil {
				t.Fatal(err)
			}
		}
		if err := run.Close(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(python, "-c", `
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1]); a.Reload()
print([(e.step, e.value) for e in a.Scalars('loss')])
print(a.Tags()['tensors'], a.Tensors('sample/0/text')[-1].tensor_proto.string_val[0].decode())
`, filepath.Join(dir, "tensorboard")).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "[(1, 1.0), (2, 2.0), (3, 3.0), (4, 304.0), (5, 305.0)]\n['sample/0/prompt', 'sample/0/text'] Über **Größe** & Ähnliches\n"
	if string(out) != want {
		t.Errorf("got %s\nwant %s", out, want)
	}
}

func demoRows() []Row {
	r := rand.New(rand.NewPCG(1, 2))
	var rows []Row
	for s := int64(1); s <= 5000; s++ {
		x := float64(s)
		row := Row{Step: s, Values: map[string]float64{
			Loss: 2.1 + 7*math.Exp(-x/300) + 0.12*r.NormFloat64(), LearningRate: 3e-4 * math.Min(x/200, 0.5+0.5*math.Cos(math.Pi*x/5000)),
			GradNorm: math.Exp(0.4*r.NormFloat64()) * (0.4 + 30/x), TokensPerSecond: 11800 + 300*r.NormFloat64(),
		}}
		if s == 2500 {
			row.Values[Loss] = math.NaN()
			row.Values[GradNorm] = math.Inf(1)
		}
		if s%500 == 0 {
			row.Values[ValidLoss] = 2.2 + 6*math.Exp(-x/300)
			row.Values[ValidPrefix+"klexikon"], row.Values[ValidPrefix+"wikipedia"] = 2.0+5*math.Exp(-x/300), 2.4+6*math.Exp(-x/300)
			row.AddSample(0, "Was ist ein Vulkan?", "Ein Vulkan ist ein Berg <script>alert(1)</script>.\nAus ihm strömt glühend heiße Lava – über tausend Grad.")
		}
		rows = append(rows, row)
	}
	return rows
}

func demoPage() *Page {
	p := Training("leo-mini: größer & schöner", "Llama of 15M parameters on Klexikon and Wikipedia.", [][2]string{{"Parameters", "15.2M"}, {"Time", "2 h 31 min"}}, demoRows())
	r := rand.New(rand.NewPCG(3, 4))
	v := make([]float64, 4000)
	for i := range v {
		v[i] = math.Exp(5 + 0.8*r.NormFloat64())
	}
	e, c := Bins(v, 40, false)
	le, lc := Bins(v, 40, true)
	p.Sections = append(p.Sections, Section{Heading: "Data", Blocks: []Block{
		Histogram{Title: "Tokens per dialogue", XLabel: "tokens", Edges: e, Counts: c}, Histogram{Title: "The same, by factors", XLabel: "tokens", Edges: le, Counts: lc, LogX: true},
		Bars{Title: "Dialogues by source", Labels: []string{"Klexikon", "Märchen <& mehr>", "Ein sehr langer Name einer Quelle mit Umlauten äöü", "leer"}, Values: []float64{41401, 9000, 1234, 0}},
		Lines{Title: "Nothing yet"},
	}})
	p.Footer = "Written by leo train."
	return p
}

func TestPageStandsAlone(t *testing.T) {
	var b bytes.Buffer
	if err := demoPage().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if *demo != "" {
		if err := demoPage().WriteFile(*demo); err != nil {
			t.Fatal(err)
		}
	}
	page := b.String()
	for _, bad := range []string{"http:", "https:", "//www", "src=", "href=", "url(", "@import", "<script", "NaN", "Inf"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	for _, good := range []string{"größer &amp; schöner", "&lt;script&gt;alert(1)&lt;/script&gt;", "über tausend Grad", "Märchen &lt;&amp; mehr&gt;", "no values yet"} {
		if !strings.Contains(page, good) {
			t.Errorf("the page lacks %q", good)
		}
	}
	if len(page) > 400_000 {
		t.Errorf("%d bytes for 5000 steps: the curves aren't thinned", len(page))
	}
	svgs := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(svgs) != 9 {
		t.Errorf("%d plots, want 9", len(svgs))
	}
	for _, s := range svgs {
		d := xml.NewDecoder(strings.NewReader(s))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in %.200s", err, s)
			}
		}
	}
	var again bytes.Buffer
	if err := demoPage().WriteHTML(&again); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) {
		t.Error("the same values give another page")
	}
}

// Whatever the numbers, a plot is finite SVG.
func TestPlotsTakeAnyNumbers(t *testing.T) {
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, -1, 1e308, -1e308, 1e-320, 5, 5, 5}
	for _, log := range []bool{false, true} {
		for n := range len(odd) + 1 {
			for start := range len(odd) - n + 1 {
				v := odd[start : start+n]
				x := make([]float64, n)
				for i := range x {
					x[i] = float64(i)
				}
				var b bytes.Buffer
				Lines{LogY: log, LogX: log, Lines: []Line{{X: x, Y: v}, {X: v, Y: x}}}.render(&b)
				e, c := Bins(v, 5, log)
				Histogram{Edges: e, Counts: c, LogX: log}.render(&b)
				Bars{Labels: make([]string, n), Values: v, Format: func(float64) string { return "" }}.render(&b)
				if s := b.String(); strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
					t.Fatalf("log %v, %v: %.400s", log, v, s)
				}
			}
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		log    bool
		want   string
	}{
		{0, 1, false, "0 0.2 0.4 0.6 0.8 1"}, {1, 5000, false, "1000 2000 3000 4000 5000"}, {-3, 3, false, "-2 0 2"},
		{0.02, 30, true, "0.1 1 10"}, {2, 90, true, "2 5 10 20 50"}, {1e-9, 1, true, "1e-9 1e-7 1e-5 0.001 0.1"}, {2, 3, true, "2 2.2 2.4 2.6 2.8 3"},
	} {
		var got []string
		for _, v := range ticks(scale{lo: c.lo, hi: c.hi, log: c.log}, 5) {
			got = append(got, Number(v))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("ticks %g…%g log %v: got %v, want %s", c.lo, c.hi, c.log, got, c.want)
		}
	}
}

func TestThinKeepsSpikes(t *testing.T) {
	x, y := make([]float64, 100000), make([]float64, 100000)
	for i := range x {
		x[i] = float64(i)
	}
	y[54321] = 9
	y[777] = -9
	tx, ty := thin(x, y)
	lo, hi := 0.0, 0.0
	for i := range ty {
		lo, hi = min(lo, ty[i]), max(hi, ty[i])
		if i > 0 && tx[i] <= tx[i-1] {
			t.Fatal("not in order")
		}
	}
	if lo != -9 || hi != 9 || len(tx) > maxPoints {
		t.Errorf("got %d points from %g to %g", len(tx), lo, hi)
	}
}
