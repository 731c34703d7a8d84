package report

import (
	"bytes"
	"fmt"
	"html/template"
	"io"

	"leolm/internal/durable"
	"leolm/internal/screen"
)

// Page is a self-contained HTML page: styles and plots are inside, nothing is fetched. Every text is
// escaped.
type Page struct {
	Title    string
	Lang     string // of the texts, "en" if empty
	Lead     string // one or two sentences under the title
	Facts    [][2]string
	Sections []Section
	Footer   string
}

// Section is a heading with plots, tables and texts under it.
type Section struct {
	Heading string
	Text    string
	Blocks  []Block
}

// Block is a Lines, Histogram, Bars, Estimates, Radar, Table, Notice, Folded or Case.
type Block interface{ render(b *bytes.Buffer) }

// Table is a table of texts; cells keep their line breaks.
type Table struct {
	Caption string
	Head    []string
	Rows    [][]string
	Numeric []bool // right-aligned columns
	// RowHeads says that the first cell of a row names it.
	RowHeads bool
	// Marked are the cells (row, column) that stand out, each as the best of its row.
	Marked map[[2]int]bool
}

// bestMark stands before the text of a marked cell: color and weight alone do not reach everybody.
const bestMark = "★ "

func (t Table) render(b *bytes.Buffer) {
	b.WriteString(`<figure class="table" tabindex="0"><table>`)
	if t.Caption != "" {
		fmt.Fprintf(b, "<caption>%s</caption>", esc(t.Caption))
	}
	cell := func(tag string, i int, s, attributes string) {
		class := ""
		if i < len(t.Numeric) && t.Numeric[i] {
			class = ` class="n"`
		}
		fmt.Fprintf(b, "<%s%s%s>%s</%s>", tag, attributes, class, s, tag)
	}
	if len(t.Head) > 0 {
		b.WriteString("<thead><tr>")
		for i, h := range t.Head {
			cell("th", i, esc(h), ` scope="col"`)
		}
		b.WriteString("</tr></thead>")
	}
	b.WriteString("<tbody>")
	for k, r := range t.Rows {
		b.WriteString("<tr>")
		for i, c := range r {
			text := esc(c)
			switch {
			case i == 0 && t.RowHeads:
				cell("th", i, text, ` scope="row"`)
			case t.Marked[[2]int{k, i}]:
				cell("td", i, `<strong class="best">`+bestMark+text+"</strong>", "")
			default:
				cell("td", i, text, "")
			}
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</tbody></table></figure>\n")
}

const style = `
:root{color-scheme:light dark;--ink:#1d2430;--dim:#5b6675;--line:#d8dee6;--paper:#fff;--card:#f6f8fa;--c0:#2864d7;--c1:#d2691e;--c2:#1f8a5b;--c3:#b03a78;--c4:#6b57c8;--c5:#8a6d1a}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#9aa5b4;--line:#38404c;--paper:#14181e;--card:#1c222b;--c0:#6ea0ff;--c1:#f0954e;--c2:#52c795;--c3:#e07fb0;--c4:#a596f5;--c5:#d3b44f}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:2rem 1.25rem 3rem;font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
p{margin:.3rem 0 .8rem;max-width:46rem}.lead,footer{color:var(--dim)}footer{margin-top:2.5rem;font-size:.85rem}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.6rem;margin:1.2rem 0}
dl div{background:var(--card);border-radius:8px;padding:.55rem .8rem}dt{color:var(--dim);font-size:.8rem}dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1rem}
figure{margin:0;background:var(--card);border-radius:10px;padding:.8rem .9rem}figure.table{grid-column:1/-1;overflow-x:auto}
figcaption,caption{font-weight:600;font-size:.95rem;text-align:left;padding-bottom:.35rem}
svg{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
svg text{fill:var(--dim)}svg .grid{stroke:var(--line);stroke-width:1}svg .axis{stroke:var(--dim);stroke-width:1}svg .err{stroke:var(--ink);stroke-width:1.5;fill:none}
svg path.l{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}svg path.faint{stroke-width:1;opacity:.35}svg .dash{stroke-dasharray:5 4}
table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{text-align:left;vertical-align:top;padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--line);white-space:pre-wrap;overflow-wrap:anywhere}
th{color:var(--dim);font-weight:600;white-space:pre}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.best{color:var(--c2)}tbody th{color:var(--ink);white-space:pre-wrap;overflow-wrap:break-word;min-width:9rem;position:sticky;left:0;background:var(--card)}td{min-width:8.5rem}td.n{min-width:0;white-space:pre}
.notice{grid-column:1/-1;border-left:4px solid var(--c1);background:var(--card);border-radius:0 10px 10px 0;padding:.7rem 1rem}.notice strong{color:var(--c1)}.notice ul{margin:.3rem 0 0;padding-left:1.2rem}.notice li{overflow-wrap:anywhere}
details{grid-column:1/-1}summary{cursor:pointer;font-weight:600;padding:.3rem 0}details>.plots{margin-top:.4rem}
.case{grid-column:1/-1;border:1px solid var(--line);border-radius:10px;padding:.8rem .9rem;min-width:0}.case h3{font-size:.95rem;margin:0 0 .5rem;overflow-wrap:anywhere}
.case h4{font-size:.82rem;color:var(--dim);margin:.5rem 0 .2rem;overflow-wrap:anywhere}.case figure.table{margin-top:.6rem}.case summary{font-size:.85rem;color:var(--dim)}
.words{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;font-size:.92rem;max-height:26rem;overflow-y:auto;unicode-bidi:plaintext}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:.8rem;margin-top:.6rem}.side{background:var(--card);border-radius:8px;padding:.6rem .8rem;min-width:0}.side h4{margin-top:0;color:var(--ink);font-size:.9rem}
@media(max-width:36rem){body{padding:1.2rem .8rem 2rem}.radar svg{font-size:17px}figure{padding:.7rem}}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.82rem;color:var(--dim);margin-top:.3rem}.key i{display:inline-block;width:1.1rem;height:.2rem;border-radius:2px;margin-right:.4rem;vertical-align:middle}
@media print{body{max-width:none}}
`

// esc makes text of strangers text of a page: nothing in it is markup, and characters that act are written out.
func esc(s string) string { return template.HTMLEscapeString(screen.Harmless(s)) }

// WriteHTML writes the page.
func (p *Page) WriteHTML(w io.Writer) error {
	lang := p.Lang
	if lang == "" {
		lang = "en"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"%s\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<h1>%s</h1>\n", esc(lang), esc(p.Title), style, esc(p.Title))
	if p.Lead != "" {
		fmt.Fprintf(&b, "<p class=\"lead\">%s</p>\n", esc(p.Lead))
	}
	if len(p.Facts) > 0 {
		b.WriteString("<dl>")
		for _, f := range p.Facts {
			fmt.Fprintf(&b, "<div><dt>%s</dt><dd>%s</dd></div>", esc(f[0]), esc(f[1]))
		}
		b.WriteString("</dl>\n")
	}
	for _, s := range p.Sections {
		b.WriteString("<section>\n")
		if s.Heading != "" {
			fmt.Fprintf(&b, "<h2>%s</h2>\n", esc(s.Heading))
		}
		if s.Text != "" {
			fmt.Fprintf(&b, "<p>%s</p>\n", esc(s.Text))
		}
		if len(s.Blocks) > 0 {
			b.WriteString("<div class=\"plots\">\n")
			for _, x := range s.Blocks {
				x.render(&b)
			}
			b.WriteString("</div>\n")
		}
		b.WriteString("</section>\n")
	}
	if p.Footer != "" {
		fmt.Fprintf(&b, "<footer>%s</footer>\n", esc(p.Footer))
	}
	b.WriteString("</body>\n</html>\n")
	_, err := w.Write(b.Bytes())
	return err
}

// WriteFile writes the page under path, atomically.
func (p *Page) WriteFile(path string) error { return durable.WriteTo(path, p.WriteHTML) }
