package dataset

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"leolm/checkpoint"
	"leolm/dataset/loader"
	"leolm/dataset/shard"
	"leolm/internal/screen"
	"leolm/tokenizer"
)

// Inspector shows samples and windows as the model will see them.
type Inspector struct {
	// Tokenizer names the pieces; nil shows ids.
	Tokenizer *tokenizer.Tokenizer
	Loss      loader.LossWeights
	// Color marks tokens that carry loss by color; otherwise they stand
	// between ⟦ and ⟧.
	Color bool
}

// OpenVocabulary opens the tokenizer that shards were made with: the file's
// own or, if the shards have more ids, with LeoLM's added tokens.
func OpenVocabulary(path string, vocab int) (*tokenizer.Tokenizer, error) {
	tok, err := checkpoint.OpenTokenizer(path, tokenizer.Options{})
	if err != nil || vocab <= tok.Vocab() {
		return tok, err
	}
	return tokenizer.Megatron(tok, checkpoint.ChatMarkers...)
}

const (
	colorLoss = "\x1b[32m"
	colorNone = "\x1b[2m"
	colorRole = "\x1b[1;36m"
	colorCut  = "\x1b[31m"
	colorOff  = "\x1b[0m"
)

// piece is how a token is shown: its piece, with line ends visible.
func (v *Inspector) piece(id int32) string {
	if v.Tokenizer == nil || id < 0 || int(id) >= v.Tokenizer.Vocab() {
		return fmt.Sprint(id)
	}
	p := v.Tokenizer.Piece(id)
	switch p {
	case "<0x0A>", "\n":
		return "⏎"
	case "<0x09>", "\t":
		return "⇥"
	}
	return screen.Line(strings.NewReplacer("\n", "⏎", "\t", "⇥", "\r", "␍", "\x1b", "␛").Replace(p))
}

// line collects tokens of one role with marks where loss begins and ends.
type line struct {
	v    *Inspector
	b    strings.Builder
	loss bool
	n    int
	code string // color in force
}

func (l *line) token(text string, loss bool) {
	if loss != l.loss && !l.v.Color {
		if l.loss {
			l.b.WriteString("⟧")
		}
		if loss {
			if l.n > 0 {
				l.b.WriteByte(' ')
			}
			l.b.WriteString("⟦")
		} else {
			l.b.WriteByte(' ')
		}
	} else if l.n > 0 {
		l.b.WriteByte(' ')
	}
	l.loss = loss
	l.n++
	if !l.v.Color {
		l.b.WriteString(text)
		return
	}
	color := colorNone
	if loss {
		color = colorLoss
	}
	if color != l.code {
		if l.code != "" {
			l.b.WriteString(colorOff)
		}
		l.b.WriteString(color)
		l.code = color
	}
	l.b.WriteString(text)
}

func (l *line) flush(w io.Writer, label string) {
	if l.n == 0 {
		return
	}
	if l.loss && !l.v.Color {
		l.b.WriteString("⟧")
	}
	if l.code != "" {
		l.b.WriteString(colorOff)
	}
	if label != "" {
		label = fmt.Sprintf("%-9s", label)
		if l.v.Color {
			label = colorRole + label + colorOff
		}
		label += "  "
	}
	fmt.Fprintf(w, "  %s%s\n", label, l.b.String())
	*l = line{v: l.v}
}

// Sample shows a whole sample: turn by turn, each token by its piece, and
// which of them the model learns to produce. Limit > 0 marks what a window
// of so many positions cuts off.
func (v *Inspector) Sample(w io.Writer, title string, s shard.Sample, limit int) error {
	out := bufio.NewWriter(w)
	kept := len(s.IDs)
	if limit > 0 {
		kept = min(kept, limit+1)
	}
	count := 0
	for i := 1; i < kept; i++ {
		if v.weight(s, i) > 0 {
			count++
		}
	}
	fmt.Fprintf(out, "%s: %d tokens, %d carry loss", title, len(s.IDs), count)
	if kept < len(s.IDs) {
		fmt.Fprintf(out, ", %d cut off", len(s.IDs)-kept)
	}
	fmt.Fprintln(out)
	l := line{v: v}
	for i, id := range s.IDs {
		if i == kept {
			l.flush(out, roleName(s, i-1))
			mark := fmt.Sprintf("✂ %d tokens cut off here", len(s.IDs)-kept)
			if v.Color {
				mark = colorCut + mark + colorOff
			}
			fmt.Fprintf(out, "  %s\n", mark)
			break
		}
		// A turn begins at its start marker, or where the role changes.
		if i > 0 && (roleName(s, i) != roleName(s, i-1) || v.piece(id) == checkpoint.ChatMarkers[0]) {
			l.flush(out, roleName(s, i-1))
		}
		l.token(v.piece(id), i > 0 && v.weight(s, i) > 0)
	}
	if kept == len(s.IDs) && kept > 0 {
		l.flush(out, roleName(s, kept-1))
	}
	return out.Flush()
}

func (v *Inspector) weight(s shard.Sample, i int) float32 {
	if s.Roles == nil {
		return 1
	}
	return v.Loss.Of(s.Roles[i])
}

func roleName(s shard.Sample, i int) string {
	if s.Roles == nil {
		return "text"
	}
	return shard.RoleOf(s.Roles[i]).String()
}

// Window shows a window of training: its documents with their positions and
// the targets that carry loss.
func (v *Inspector) Window(w io.Writer, title string, win *loader.Window) error {
	out := bufio.NewWriter(w)
	documents := "documents"
	if len(win.Docs) == 1 {
		documents = "document"
	}
	fmt.Fprintf(out, "%s: %d positions, %d %s, loss weight %g", title, win.Len(), len(win.Docs), documents, win.Loss())
	if win.Cut > 0 {
		fmt.Fprintf(out, ", %d tokens cut off", win.Cut)
	}
	fmt.Fprintln(out)
	for d, start := range win.Docs {
		end := win.Len()
		if d+1 < len(win.Docs) {
			end = int(win.Docs[d+1])
		}
		name := ""
		if len(win.Refs) == len(win.Docs) { // else documents lie inside samples
			name = fmt.Sprintf(" (sample %d)", win.Refs[d].Index)
		}
		fmt.Fprintf(out, " document %d%s, positions %d to %d, attends to itself only\n", d+1, name, start, end-1)
		l := line{v: v}
		l.token(v.piece(win.IDs[start]), false)
		// Each token but the first is shown once: as target of the one before.
		for i := int(start); i < end; i++ {
			if v.piece(win.Targets[i]) == checkpoint.ChatMarkers[0] {
				l.flush(out, "")
			}
			l.token(v.piece(win.Targets[i]), win.Weights[i] > 0)
		}
		l.flush(out, "")
	}
	return out.Flush()
}
