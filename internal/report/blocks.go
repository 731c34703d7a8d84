package report

import (
	"bytes"
	"fmt"

	"leolm/internal/screen"
)

// Notice is what a reader must know before the numbers.
type Notice struct {
	Title string
	Items []string
}

func (n Notice) render(b *bytes.Buffer) {
	fmt.Fprintf(b, `<div class="notice" role="note"><strong>%s</strong><ul>`, esc(n.Title))
	for _, item := range n.Items {
		fmt.Fprintf(b, "<li>%s</li>", esc(item))
	}
	b.WriteString("</ul></div>\n")
}

// Folded is blocks behind a line that opens them.
type Folded struct {
	Summary string
	Open    bool
	Blocks  []Block
}

func (f Folded) render(b *bytes.Buffer) {
	open := ""
	if f.Open {
		open = " open"
	}
	fmt.Fprintf(b, `<details%s><summary>%s</summary><div class="plots">`+"\n", open, esc(f.Summary))
	for _, x := range f.Blocks {
		x.render(b)
	}
	b.WriteString("</div></details>\n")
}

// Case is one question with what several said to it, side by side.
type Case struct {
	Heading string
	Texts   []Labeled // above the answers: the question, what would be right
	Table   *Table    // of choices; nil for none
	Sides   []Side
}

// Side is one answer.
type Side struct {
	Name  string
	Texts []Labeled
}

// Labeled is a text of strangers under a label. Its line breaks stay, and its own direction; characters that act instead
// of being seen are written out. A Folded one is shown on demand.
type Labeled struct {
	Label, Text string
	Folded      bool
}

// maxWords bounds a text in a page, in bytes.
const maxWords = 12000

func (l Labeled) render(b *bytes.Buffer) {
	text := l.Text
	if len(text) > maxWords {
		cut := maxWords
		for cut > 0 && text[cut]&0xc0 == 0x80 {
			cut--
		}
		text = fmt.Sprintf("%s … (%d bytes more)", text[:cut], len(text)-cut)
	}
	text = esc(text)
	if text == "" {
		text = "<em>(empty)</em>"
	}
	label := esc(l.Label)
	switch {
	case l.Folded:
		fmt.Fprintf(b, `<details><summary>%s</summary><div class="words" dir="auto" tabindex="0">%s</div></details>`, label, text)
	case l.Label == "":
		fmt.Fprintf(b, `<div class="words" dir="auto" tabindex="0">%s</div>`, text)
	default:
		fmt.Fprintf(b, `<h4>%s</h4><div class="words" dir="auto" tabindex="0">%s</div>`, label, text)
	}
}

func (c Case) render(b *bytes.Buffer) {
	fmt.Fprintf(b, `<article class="case"><h3>%s</h3>`, esc(screen.Line(c.Heading)))
	for _, t := range c.Texts {
		t.render(b)
	}
	if c.Table != nil {
		c.Table.render(b)
	}
	if len(c.Sides) > 0 {
		b.WriteString(`<div class="sides">`)
		for _, s := range c.Sides {
			fmt.Fprintf(b, `<div class="side"><h4>%s</h4>`, esc(screen.Line(s.Name)))
			for _, t := range s.Texts {
				t.render(b)
			}
			b.WriteString("</div>")
		}
		b.WriteString("</div>")
	}
	b.WriteString("</article>\n")
}
