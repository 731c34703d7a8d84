package report

import (
	"bytes"
	"fmt"
	"math"
)

// Estimates compares measured values with their uncertainty: a bar for each, and a line over the interval at its end.
type Estimates struct {
	Title  string
	Rows   []Estimate
	Format func(Estimate) string // of the text behind a label; default: the value as Number prints it
}

// Estimate is one bar. A value that is not finite has none; Lo and Hi are NaN where there is no interval.
type Estimate struct {
	Label         string
	Value, Lo, Hi float64
	Color         int // 0…5
}

// The picture is as narrow as a phone, so that its letters stay as large as those around it.
const (
	estimateW, estimateRow, estimatePad = 400.0, 44.0, 10.0
)

// maxEstimateLabel is how many characters of a label have room above its bar.
const maxEstimateLabel = 34

func (p Estimates) render(b *bytes.Buffer) {
	format := p.Format
	if format == nil {
		format = func(e Estimate) string { return Number(e.Value) }
	}
	values := []float64{0}
	for _, e := range p.Rows {
		if finite(e.Value) {
			values = append(values, e.Value)
		}
		if finite(e.Lo) && finite(e.Hi) {
			values = append(values, e.Lo, e.Hi)
		}
	}
	s, marks := fit(values, false, estimatePad, estimateW-estimatePad, 5)
	bottom := estimateRow*float64(len(p.Rows)) + 4
	b.WriteString("<figure>")
	caption(b, p.Title)
	fmt.Fprintf(b, `<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`, px(estimateW), px(bottom+24), esc(p.Title))
	for _, t := range marks {
		x := px(s.at(t))
		fmt.Fprintf(b, `<line class="grid" x1="%s" x2="%s" y1="4" y2="%s"/><text x="%s" y="%s" text-anchor="middle">%s</text>`, x, x, px(bottom), x, px(bottom+16), Number(t))
	}
	for i, e := range p.Rows {
		p.bar(b, s, e, estimateRow*float64(i)+4, format)
	}
	b.WriteString("</svg></figure>\n")
}

// bar draws one row at height y.
func (p Estimates) bar(b *bytes.Buffer, s scale, e Estimate, y float64, format func(Estimate) string) {
	label := []rune(e.Label)
	if len(label) > maxEstimateLabel {
		label = append(label[:maxEstimateLabel-1], '…')
	}
	text := "–"
	if finite(e.Value) {
		text = format(e)
	}
	fmt.Fprintf(b, `<text x="%s" y="%s">%s</text><text x="%s" y="%s" text-anchor="end">%s</text>`, px(estimatePad), px(y+14),
		esc(string(label)), px(estimateW-estimatePad), px(y+14), esc(text))
	if !finite(e.Value) {
		return
	}
	from, to := s.at(min(0, e.Value)), s.at(max(0, e.Value))
	fmt.Fprintf(b, `<rect x="%s" y="%s" width="%s" height="14" rx="2" style="fill:var(--c%d)"><title>%s: %s</title></rect>`,
		px(from), px(y+20), px(max(1, to-from)), e.Color%6, esc(e.Label), esc(text))
	if finite(e.Lo) && finite(e.Hi) {
		lo, hi, mid := px(s.at(e.Lo)), px(s.at(e.Hi)), px(y+27)
		fmt.Fprintf(b, `<path class="err" d="M%s %sH%sM%s %sv10M%s %sv10"/>`, lo, mid, hi, lo, px(y+22), hi, px(y+22))
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
