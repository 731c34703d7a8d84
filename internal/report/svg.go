package report

import (
	"bytes"
	"fmt"
)

// The page's colors in its light theme: a picture embedded in another page can't use that page's styles.
const svgStyle = `svg{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;--c0:#2864d7;--c1:#d2691e;--c2:#1f8a5b;--c3:#b03a78;--c4:#6b57c8;--c5:#8a6d1a}` +
	`text{fill:#5b6675}.grid{stroke:#d8dee6;stroke-width:1}.axis{stroke:#5b6675;stroke-width:1}` +
	`path.l{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}path.faint{stroke-width:1;opacity:.35}.dash{stroke-dasharray:5 4}`

// SVG returns the plot as a self-contained picture with title and legend, for pages that are not ours (a README).
func (p Lines) SVG() []byte {
	var page bytes.Buffer
	p.render(&page)
	plot := page.Bytes()
	plot = plot[bytes.Index(plot, []byte("<svg")):]
	plot = plot[bytes.IndexByte(plot, '>')+1 : bytes.Index(plot, []byte("</svg>"))]

	const top = 28
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s"><style>%s</style><rect width="100%%" height="100%%" fill="#fff"/>`,
		px(plotW), px(plotH+top), svgStyle)
	fmt.Fprintf(&b, `<text x="%s" y="18" style="font-weight:600;fill:#1d2430">%s</text>`, px(marginL), esc(p.Title))
	fmt.Fprintf(&b, `<g transform="translate(0 %d)">%s</g>`, top, plot)
	y := top + 22
	for _, l := range p.Lines {
		if l.Name == "" || l.Faint {
			continue
		}
		dash := ""
		if l.Dashed {
			dash = ` class="dash"`
		}
		x := plotW - marginR - 150
		fmt.Fprintf(&b, `<line%s x1="%s" x2="%s" y1="%d" y2="%d" style="stroke:var(--c%d);stroke-width:2"/><text x="%s" y="%d">%s</text>`,
			dash, px(x), px(x+18), y-4, y-4, l.Color%6, px(x+24), y, esc(l.Name))
		y += 16
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
