package dataset

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"leolm/chat"
	"leolm/dataset/rows"
	"leolm/internal/textcheck"
)

// node is a message of a tree.
type node struct {
	row    *rows.Row
	id     string
	parent string // id of the message it answers
	// parentColumn is where that id stands; empty for a root.
	parentColumn string
	role         chat.Role
	text         string
	rank         float64
	lang         string
	order        int
	replies      []*node
}

// maxTreeDepth bounds a path; a chain of parents that is longer is a loop.
const maxTreeDepth = 1000

// convertTrees builds message trees and cuts them into dialogues: for every
// root the path of the best-ranked replies, or every path from the root to a
// leaf. Rows are either messages with a parent's id, as in OASST's message
// files and backend exports, or whole trees ({prompt: {…, replies: […]}}).
// Without ranks, the first reply in file order counts as the best. A path
// ends with the assistant: a prompt without a reply is left off.
func convertTrees(s *sourceReader, all []readRow) ([]placed, error) {
	var roots []*node
	byID := map[string]*node{}
	var flat []*node
	for i := range all {
		row, v := all[i].row, &all[i].value
		if err := row.Object(v); err != nil {
			return nil, err
		}
		if prompt, ok := v.Get("prompt"); ok && prompt.Kind == rows.Object {
			root, err := s.tree(row, prompt, len(roots), 0)
			if err != nil {
				return nil, err
			}
			roots = append(roots, root)
			continue
		}
		n, err := s.node(row, v, i)
		if err != nil {
			return nil, err
		}
		idColumn, parentColumn := s.idColumns(v)
		f, ok := v.Get(idColumn)
		if !ok {
			return nil, row.Errorf(idColumn, "the column is missing; there are %s", strings.Join(v.Names, ", "))
		}
		if n.id, err = asText(row, idColumn, f); err != nil {
			return nil, err
		}
		if first := byID[n.id]; first != nil {
			return nil, row.Errorf(idColumn, "the message id %q appeared before, in row %d", n.id, first.row.Number)
		}
		if f, ok = v.Get(parentColumn); ok && f.Kind != rows.Null {
			if n.parent, err = asText(row, parentColumn, f); err != nil {
				return nil, err
			}
			n.parentColumn = parentColumn
		}
		byID[n.id] = n
		flat = append(flat, n)
	}
	for _, n := range flat {
		if n.parentColumn == "" {
			roots = append(roots, n)
			continue
		}
		p := byID[n.parent]
		if p == nil {
			return nil, n.row.Errorf(n.parentColumn, "there is no message with the id %q", n.parent)
		}
		p.replies = append(p.replies, n)
	}
	var out []placed
	for _, root := range roots {
		if s.src.Lang != "" && root.lang != "" && !sameLanguage(root.lang, s.src.Lang) {
			continue
		}
		paths, err := root.paths(s.src.Paths == "all", 0)
		if err != nil {
			return nil, err
		}
		for _, p := range paths {
			var d Dialogue
			for _, n := range p {
				d.Turns = append(d.Turns, Turn{Role: n.role, Text: n.text})
			}
			out = append(out, placed{root.row, d})
		}
	}
	return out, nil
}

// sameLanguage compares language codes, of which "de", "deu" and "de-AT" are one.
func sameLanguage(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := textcheck.LanguageCode(a)
	y, errY := textcheck.LanguageCode(b)
	return errX == nil && errY == nil && x == y
}

// paths lists the paths from n to where an assistant's message ends them.
func (n *node) paths(all bool, depth int) ([][]*node, error) {
	if depth > maxTreeDepth {
		return nil, n.row.Errorf("", "message %q: a path of more than %d messages: the parents form a loop", n.id, maxTreeDepth)
	}
	slices.SortStableFunc(n.replies, func(a, b *node) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 {
			return c
		}
		return a.order - b.order
	})
	var out [][]*node
	for i, reply := range n.replies {
		if i > 0 && !all {
			break
		}
		tails, err := reply.paths(all, depth+1)
		if err != nil {
			return nil, err
		}
		for _, tail := range tails {
			out = append(out, append([]*node{n}, tail...))
		}
	}
	if out == nil && n.role == chat.Assistant {
		out = [][]*node{{n}}
	}
	return out, nil
}

// unranked sorts behind every rank.
const unranked = 1 << 30

func (s *sourceReader) node(row *rows.Row, v *rows.Value, order int) (*node, error) {
	text, err := s.text(row, v, "text")
	if err != nil {
		return nil, err
	}
	word, err := s.text(row, v, "role")
	if err != nil {
		return nil, err
	}
	role, err := chat.ParseRole(word)
	if err != nil {
		return nil, row.Errorf(s.column("role"), "unknown role %q: want prompter or assistant", word)
	}
	n := &node{row: row, role: role, text: text, rank: unranked, order: order}
	if f, ok := s.find(v, "rank"); ok && f.Kind == rows.Number {
		if n.rank, err = strconv.ParseFloat(f.Text, 64); err != nil || n.rank != n.rank {
			return nil, row.Errorf(s.column("rank"), "want a rank from 0, found %s", f.Text)
		}
	}
	if f, ok := s.find(v, "lang"); ok && f.Kind == rows.String {
		n.lang = f.Text
	}
	return n, nil
}

// idColumns names the columns of a message's own id and its parent's, by
// OASST's habits: message_id and parent_id in the published files; in backend
// exports parent_message_id, which refers to user_message_id.
func (s *sourceReader) idColumns(v *rows.Value) (id, parent string) {
	id, parent = s.column("id"), s.column("parent")
	if id == "" {
		id = "message_id"
		if _, ok := v.Get("user_message_id"); ok {
			id = "user_message_id"
		}
	}
	if parent == "" {
		parent = "parent_id"
		if _, ok := v.Get("parent_message_id"); ok {
			parent = "parent_message_id"
		}
	}
	return id, parent
}

// tree reads a nested message.
func (s *sourceReader) tree(row *rows.Row, v *rows.Value, order, depth int) (*node, error) {
	if err := row.Object(v); err != nil {
		return nil, err
	}
	if depth > maxTreeDepth {
		return nil, row.Errorf("", "replies nested deeper than %d", maxTreeDepth)
	}
	n, err := s.node(row, v, order)
	if err != nil {
		return nil, err
	}
	if replies, ok := v.Get("replies"); ok && replies.Kind == rows.List {
		for i := range replies.Items {
			r, err := s.tree(row, &replies.Items[i], i, depth+1)
			if err != nil {
				return nil, err
			}
			n.replies = append(n.replies, r)
		}
	}
	return n, nil
}
