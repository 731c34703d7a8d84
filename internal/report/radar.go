package report

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// Radar compares series over a few axes of one scale, which stand around a center.
type Radar struct {
	Title  string
	Axes   []string
	Lo, Hi float64 // values of the center and of the rim
	Series []RadarSeries
}

// RadarSeries is one polygon. A value that is not finite leaves a gap.
type RadarSeries struct {
	Name   string
	Values []float64 // one for each axis
}

const (
	radarW, radarH = 560.0, 400.0
	radarRim       = 150.0
	radarRings     = 4
)

// at is the point of an axis at a share of the radius.
func (r Radar) at(axis int, share float64) (x, y float64) {
	angle := 2*math.Pi*float64(axis)/float64(len(r.Axes)) - math.Pi/2
	return radarW/2 + radarRim*share*math.Cos(angle), radarH/2 + radarRim*share*math.Sin(angle)
}

// draw writes what is inside the picture.
func (r Radar) draw(b *bytes.Buffer) {
	if len(r.Axes) < 3 || !(r.Hi > r.Lo) {
		fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="middle">no values yet</text>`, px(radarW/2), px(radarH/2))
		return
	}
	for ring := 1; ring <= radarRings; ring++ {
		var d strings.Builder
		share := float64(ring) / radarRings
		for i := range r.Axes {
			x, y := r.at(i, share)
			d.WriteString(string("ML"[min(i, 1)]) + px(x) + " " + px(y))
		}
		fmt.Fprintf(b, `<path class="grid" fill="none" d="%sZ"/>`, d.String())
		_, y := r.at(0, share)
		fmt.Fprintf(b, `<text x="%s" y="%s" dy=".35em">%s</text>`, px(radarW/2+4), px(y), Number(r.Lo+share*(r.Hi-r.Lo)))
	}
	for i, name := range r.Axes {
		x, y := r.at(i, 1)
		fmt.Fprintf(b, `<line class="grid" x1="%s" y1="%s" x2="%s" y2="%s"/>`, px(radarW/2), px(radarH/2), px(x), px(y))
		x, y = r.at(i, 1.1)
		anchor := "middle"
		switch {
		case x > radarW/2+10:
			anchor = "start"
		case x < radarW/2-10:
			anchor = "end"
		}
		fmt.Fprintf(b, `<text x="%s" y="%s" dy=".35em" text-anchor="%s">%s</text>`, px(x), px(y), anchor, esc(name))
	}
	for k, s := range r.Series {
		var d strings.Builder
		var dots strings.Builder
		pen, whole := false, len(s.Values) >= len(r.Axes)
		for i := range r.Axes {
			if i >= len(s.Values) || math.IsNaN(s.Values[i]) || math.IsInf(s.Values[i], 0) {
				pen, whole = false, false
				continue
			}
			share := min(1, max(0, (s.Values[i]-r.Lo)/(r.Hi-r.Lo)))
			x, y := r.at(i, share)
			c := "M"
			if pen {
				c = "L"
			}
			pen = true
			d.WriteString(c + px(x) + " " + px(y))
			fmt.Fprintf(&dots, `<circle cx="%s" cy="%s" r="2.5" style="fill:var(--c%d)"><title>%s, %s: %s</title></circle>`,
				px(x), px(y), k%6, esc(s.Name), esc(r.Axes[i]), Number(s.Values[i]))
		}
		if whole {
			d.WriteString("Z")
		}
		fmt.Fprintf(b, `<path class="l" style="stroke:var(--c%d)" d="%s"/>%s`, k%6, d.String(), dots.String())
	}
}

func (r Radar) render(b *bytes.Buffer) {
	b.WriteString(`<figure class="radar">`)
	caption(b, r.Title)
	fmt.Fprintf(b, `<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`, px(radarW), px(radarH), esc(r.Title))
	r.draw(b)
	b.WriteString("</svg>")
	lines := make([]Line, 0, len(r.Series))
	for k, s := range r.Series {
		lines = append(lines, Line{Name: s.Name, Color: k})
	}
	key(b, lines)
	b.WriteString("</figure>\n")
}

// SVG returns the chart as a self-contained picture with title and legend, for pages that are not ours.
func (r Radar) SVG() []byte {
	const top, row = 28.0, 16.0
	height := top + radarH + row*float64(len(r.Series))
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s"><style>%s</style><rect width="100%%" height="100%%" fill="#fff"/>`,
		px(radarW), px(height), svgStyle)
	fmt.Fprintf(&b, `<text x="16" y="18" style="font-weight:600;fill:#1d2430">%s</text>`, esc(r.Title))
	fmt.Fprintf(&b, `<g transform="translate(0 %s)">`, px(top))
	r.draw(&b)
	b.WriteString("</g>")
	for k, s := range r.Series {
		y := top + radarH + row*float64(k)
		fmt.Fprintf(&b, `<line x1="16" x2="34" y1="%s" y2="%s" style="stroke:var(--c%d);stroke-width:2"/><text x="40" y="%s">%s</text>`,
			px(y-4), px(y-4), k%6, px(y), esc(s.Name))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
