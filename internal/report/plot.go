package report

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Line is one curve. Points with a NaN or infinite coordinate, or one that a logarithmic axis can't show, break
// the curve.
type Line struct {
	Name   string
	X, Y   []float64
	Dashed bool
	Faint  bool // drawn thin, without an entry in the legend
	Color  int  // 0…5; lines of one color belong together
}

// Lines is a plot of curves.
type Lines struct {
	Title, XLabel, YLabel string
	LogX, LogY            bool
	Lines                 []Line
}

// Histogram shows how values are distributed: counts of bins, which Edges separate.
type Histogram struct {
	Title, XLabel string
	Edges         []float64 // len(Counts)+1 borders, ascending
	Counts        []int
	LogX          bool // edges are spaced geometrically
}

// Bars compares labeled values with horizontal bars.
type Bars struct {
	Title  string
	Labels []string
	Values []float64
	Format func(float64) string // of the value beside the bar; default: Number
}

// Bins puts values into n equal bins (factors when log, positive values only) for a Histogram. NaN and
// infinities are left out.
func Bins(values []float64, n int, log bool) (edges []float64, counts []int) {
	lo, hi := math.Inf(1), math.Inf(-1)
	usable := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) && (!log || v > 0) }
	for _, v := range values {
		if usable(v) {
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	if lo > hi || n < 1 {
		return nil, nil
	}
	s := scale{lo: lo, hi: hi, log: log, a: 0, b: float64(n)}
	if lo == hi {
		s.lo, s.hi = s.widened()
	}
	edges, counts = make([]float64, n+1), make([]int, n)
	for i := range edges {
		edges[i] = s.inverse(float64(i))
	}
	for _, v := range values {
		if usable(v) {
			counts[min(n-1, max(0, int(s.at(v))))]++
		}
	}
	return edges, counts
}

// scale maps values lo…hi to pixels a…b.
type scale struct {
	lo, hi, a, b float64
	log          bool
}

func (s scale) widened() (lo, hi float64) {
	if s.log {
		return s.lo / 1.5, s.hi * 1.5
	}
	d := math.Abs(s.lo) * 0.05
	if d == 0 {
		d = 1
	}
	return s.lo - d, s.hi + d
}

func (s scale) shows(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!s.log || v > 0)
}

func (s scale) at(v float64) float64 {
	if s.log {
		return s.a + (math.Log(v)-math.Log(s.lo))/(math.Log(s.hi)-math.Log(s.lo))*(s.b-s.a)
	}
	// Halves, so that the span of the largest numbers doesn't overflow.
	return s.a + (v/2-s.lo/2)/(s.hi/2-s.lo/2)*(s.b-s.a)
}

func (s scale) inverse(p float64) float64 {
	t := (p - s.a) / (s.b - s.a)
	if s.log {
		return math.Exp(math.Log(s.lo) + t*(math.Log(s.hi)-math.Log(s.lo)))
	}
	return s.lo*(1-t) + s.hi*t
}

// fit finds the range of values and widens it to whole ticks.
func fit(values []float64, log bool, a, b float64, want int) (scale, []float64) {
	s := scale{lo: math.Inf(1), hi: math.Inf(-1), a: a, b: b, log: log}
	for _, v := range values {
		if s.shows(v) {
			s.lo, s.hi = min(s.lo, v), max(s.hi, v)
		}
	}
	if s.lo > s.hi {
		s.lo, s.hi = 0, 1
		if log {
			s.lo, s.hi = 1, 10
		}
	}
	if s.lo == s.hi {
		s.lo, s.hi = s.widened()
	}
	return s, ticks(s, want)
}

// ticks are round numbers inside the scale.
func ticks(s scale, want int) []float64 {
	if s.log && s.hi/s.lo >= 8 {
		var out []float64
		first, last := int(math.Floor(math.Log10(s.lo))), int(math.Ceil(math.Log10(s.hi)))
		steps := []float64{1}
		if last-first <= 3 {
			steps = []float64{1, 2, 5}
		}
		every := 1 + (last-first)/max(want, 1)
		for e := first; e <= last; e += every {
			for _, m := range steps {
				if v := m * math.Pow(10, float64(e)); v >= s.lo*0.999 && v <= s.hi*1.001 {
					out = append(out, v)
				}
			}
		}
		return out
	}
	span := s.hi - s.lo
	if math.IsInf(span, 0) || span <= 0 {
		return []float64{s.lo, s.hi}
	}
	raw := span / float64(max(want, 1))
	base := math.Pow(10, math.Floor(math.Log10(raw)))
	step := base
	for _, m := range []float64{1, 2, 5, 10} {
		if step = m * base; step >= raw {
			break
		}
	}
	var out []float64
	for i := math.Ceil(s.lo/step - 1e-9); i*step <= s.hi+step*1e-9 && len(out) < 100; i++ {
		v := i * step
		if v == 0 {
			v = 0 // not "-0"
		}
		out = append(out, v)
	}
	return out
}

// Number prints a value for people: 1.2M, 350k, 0.0123, 3e-5.
func Number(v float64) string {
	a := math.Abs(v)
	trim := func(s string) string {
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	switch {
	case v == 0:
		return "0"
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strconv.FormatFloat(v, 'g', -1, 64)
	case a >= 1e15 || a < 1e-3:
		s := strconv.FormatFloat(v, 'e', 2, 64)
		m, e, _ := strings.Cut(s, "e")
		exp, _ := strconv.Atoi(e)
		return trim(m) + "e" + strconv.Itoa(exp)
	case a >= 1e12:
		return trim(fmt.Sprintf("%.2f", v/1e12)) + "T"
	case a >= 1e9:
		return trim(fmt.Sprintf("%.2f", v/1e9)) + "G"
	case a >= 1e6:
		return trim(fmt.Sprintf("%.2f", v/1e6)) + "M"
	case a >= 1e4:
		return trim(fmt.Sprintf("%.1f", v/1e3)) + "k"
	case a >= 100:
		return trim(fmt.Sprintf("%.1f", v))
	}
	return trim(fmt.Sprintf("%.4f", v))
}

// maxPoints exceeds the columns of a plot on any screen; longer curves are thinned to the lowest and highest
// point of each column, so that no spike is lost.
const maxPoints = 1400

func thin(x, y []float64) ([]float64, []float64) {
	n := min(len(x), len(y))
	if n <= maxPoints {
		return x[:n], y[:n]
	}
	groups := maxPoints/2 - 1
	var ox, oy []float64
	for g := range groups {
		from, to := g*n/groups, (g+1)*n/groups
		lo, hi := -1, -1
		for i := from; i < to; i++ {
			if math.IsNaN(y[i]) || math.IsInf(y[i], 0) {
				continue
			}
			if lo < 0 || y[i] < y[lo] {
				lo = i
			}
			if hi < 0 || y[i] > y[hi] {
				hi = i
			}
		}
		if lo < 0 {
			ox, oy = append(ox, x[from]), append(oy, math.NaN())
			continue
		}
		a, b := min(lo, hi), max(lo, hi)
		ox, oy = append(ox, x[a]), append(oy, y[a])
		if a != b {
			ox, oy = append(ox, x[b]), append(oy, y[b])
		}
	}
	if last := n - 1; ox[len(ox)-1] != x[last] { // the axis ends where the run does
		ox, oy = append(ox, x[last]), append(oy, y[last])
	}
	return ox, oy
}

const (
	plotW, plotH                               = 560.0, 300.0
	marginL, marginR, marginT, marginB float64 = 58, 16, 10, 42
)

func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func (p Lines) render(b *bytes.Buffer) {
	var xs, ys []float64
	lines := slices.Clone(p.Lines)
	for i := range lines {
		lines[i].X, lines[i].Y = thin(lines[i].X, lines[i].Y)
		for j, y := range lines[i].Y {
			x := lines[i].X[j]
			ok := !math.IsNaN(x+y) && !math.IsInf(x, 0) && !math.IsInf(y, 0) && (!p.LogX || x > 0) && (!p.LogY || y > 0)
			if ok {
				xs, ys = append(xs, x), append(ys, y)
			}
		}
	}
	sx, tx := fit(xs, p.LogX, marginL, plotW-marginR, 6)
	sy, ty := fit(ys, p.LogY, plotH-marginB, marginT+6, 5)
	b.WriteString("<figure>")
	caption(b, p.Title)
	open(b, p.Title, len(xs) == 0)
	frame(b, sx, sy, tx, ty, p.XLabel, p.YLabel)
	for _, l := range lines {
		var d strings.Builder
		pen := false
		var dots [][2]float64
		for j, y := range l.Y {
			x := l.X[j]
			if !sx.shows(x) || !sy.shows(y) {
				pen = false
				continue
			}
			if pen {
				d.WriteByte('L')
			} else {
				d.WriteByte('M')
			}
			if next := j + 1; !pen && (next == len(l.Y) || !sx.shows(l.X[next]) || !sy.shows(l.Y[next])) {
				dots = append(dots, [2]float64{sx.at(x), sy.at(y)}) // a single point has no line to show it
			}
			pen = true
			d.WriteString(px(sx.at(x)) + " " + px(sy.at(y)))
		}
		class := "l"
		if l.Faint {
			class += " faint"
		}
		if l.Dashed {
			class += " dash"
		}
		c := l.Color % 6
		fmt.Fprintf(b, `<path class="%s" style="stroke:var(--c%d)" d="%s"/>`, class, c, d.String())
		for _, pt := range dots {
			fmt.Fprintf(b, `<circle cx="%s" cy="%s" r="2.5" style="fill:var(--c%d)"/>`, px(pt[0]), px(pt[1]), c)
		}
	}
	b.WriteString("</svg>")
	key(b, lines)
	b.WriteString("</figure>\n")
}

func caption(b *bytes.Buffer, title string) {
	if title != "" {
		fmt.Fprintf(b, "<figcaption>%s</figcaption>", esc(title))
	}
}

func open(b *bytes.Buffer, title string, empty bool) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`, px(plotW), px(plotH), esc(title))
	if empty {
		fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="middle">no values yet</text>`, px(plotW/2), px(plotH/2))
	}
}

func frame(b *bytes.Buffer, sx, sy scale, tx, ty []float64, xlabel, ylabel string) {
	for _, t := range ty {
		y := px(sy.at(t))
		fmt.Fprintf(b, `<line class="grid" x1="%s" x2="%s" y1="%s" y2="%s"/><text x="%s" y="%s" dy=".35em" text-anchor="end">%s</text>`, px(marginL), px(plotW-marginR), y, y, px(marginL-7), y, Number(t))
	}
	bottom := plotH - marginB
	for _, t := range tx {
		x := px(sx.at(t))
		fmt.Fprintf(b, `<line class="axis" x1="%s" x2="%s" y1="%s" y2="%s"/><text x="%s" y="%s" text-anchor="middle">%s</text>`, x, x, px(bottom), px(bottom+4), x, px(bottom+17), Number(t))
	}
	fmt.Fprintf(b, `<line class="axis" x1="%s" x2="%s" y1="%s" y2="%s"/>`, px(marginL), px(plotW-marginR), px(bottom), px(bottom))
	if xlabel != "" {
		fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="middle">%s</text>`, px((marginL+plotW-marginR)/2), px(plotH-5), esc(xlabel))
	}
	if ylabel != "" {
		y := (marginT + bottom) / 2
		fmt.Fprintf(b, `<text transform="translate(12 %s) rotate(-90)" text-anchor="middle">%s</text>`, px(y), esc(ylabel))
	}
}

func key(b *bytes.Buffer, lines []Line) {
	n := 0
	for _, l := range lines {
		if !l.Faint && l.Name != "" {
			n++
		}
	}
	if n < 2 {
		return
	}
	b.WriteString(`<div class="key">`)
	for _, l := range lines {
		if !l.Faint && l.Name != "" {
			fmt.Fprintf(b, `<span><i style="background:var(--c%d)"></i>%s</span>`, l.Color%6, esc(l.Name))
		}
	}
	b.WriteString("</div>")
}

func (h Histogram) render(b *bytes.Buffer) {
	b.WriteString("<figure>")
	caption(b, h.Title)
	if len(h.Counts) == 0 || len(h.Edges) != len(h.Counts)+1 {
		open(b, h.Title, true)
		b.WriteString("</svg></figure>\n")
		return
	}
	top := float64(max(1, slices.Max(h.Counts)))
	sx := scale{lo: h.Edges[0], hi: h.Edges[len(h.Edges)-1], a: marginL, b: plotW - marginR, log: h.LogX}
	sy, ty := fit([]float64{0, top}, false, plotH-marginB, marginT+6, 5)
	open(b, h.Title, false)
	frame(b, sx, sy, ticks(sx, 6), ty, h.XLabel, "")
	for i, c := range h.Counts {
		if c == 0 {
			continue
		}
		x0, x1, y := sx.at(h.Edges[i]), sx.at(h.Edges[i+1]), sy.at(float64(c))
		fmt.Fprintf(b, `<rect x="%s" y="%s" width="%s" height="%s" style="fill:var(--c0)"><title>%s – %s: %d</title></rect>`, px(x0+.5), px(y), px(max(.6, x1-x0-1)), px(max(.6, plotH-marginB-y)), Number(h.Edges[i]), Number(h.Edges[i+1]), c)
	}
	b.WriteString("</svg></figure>\n")
}

func (p Bars) render(b *bytes.Buffer) {
	format := p.Format
	if format == nil {
		format = Number
	}
	n := min(len(p.Labels), len(p.Values))
	const row, labelW, valueW = 26.0, 190.0, 74.0
	h := row*float64(n) + 8
	top := 0.0
	for _, v := range p.Values[:n] {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			top = max(top, v)
		}
	}
	b.WriteString("<figure>")
	caption(b, p.Title)
	fmt.Fprintf(b, `<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`, px(plotW), px(max(h, row)), esc(p.Title))
	for i := range n {
		y := row*float64(i) + 4
		label := []rune(p.Labels[i])
		if len(label) > 28 {
			label = append(label[:27], '…')
		}
		w := 0.0
		if v := p.Values[i]; top > 0 && v > 0 && !math.IsInf(v, 0) {
			w = v / top * (plotW - labelW - valueW)
		}
		mid := px(y + row/2 - 2)
		fmt.Fprintf(b, `<text x="%s" y="%s" dy=".35em" text-anchor="end">%s</text>`, px(labelW-8), mid, esc(string(label)))
		fmt.Fprintf(b, `<rect x="%s" y="%s" width="%s" height="%s" rx="2" style="fill:var(--c0)"><title>%s: %s</title></rect>`, px(labelW), px(y+2), px(max(w, 1)), px(row-8), esc(p.Labels[i]), esc(format(p.Values[i])))
		fmt.Fprintf(b, `<text x="%s" y="%s" dy=".35em">%s</text>`, px(labelW+max(w, 1)+6), mid, esc(format(p.Values[i])))
	}
	b.WriteString("</svg></figure>\n")
}
