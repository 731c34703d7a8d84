package dataset

import (
	"cmp"
	"slices"
	"strconv"

	"leolm/chat"
	"leolm/dataset/rows"
)

// node is a message of a tree.
type node struct {
	row     *rows.Row
	id      string
	role    chat.Role
	text    string
	rank    float64
	lang    string
	order   int
	replies []*node
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
	parents := map[*node]string{}
	for i := range all {
		row, v := all[i].row, &all[i].value
		if err := object(row, v); err != nil {
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
		id, parent, err := s.ids(row, v)
		if err != nil {
			return nil, err
		}
		n.id = id
		if byID[id] != nil {
			return nil, row.Errorf(s.column("id"), "the message id %q appeared before, in row %d", id, byID[id].row.Number)
		}
		byID[id] = n
		flat = append(flat, n)
		parents[n] = parent
	}
	for _, n := range flat {
		parent := parents[n]
		if parent == "" {
			roots = append(roots, n)
			continue
		}
		p := byID[parent]
		if p == nil {
			return nil, n.row.Errorf(s.column("parent"), "there is no message with the id %q", parent)
		}
		p.replies = append(p.replies, n)
	}
	var out []placed
	for _, root := range roots {
		if s.src.Lang != "" && root.lang != "" && root.lang != s.src.Lang {
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
	if f, ok := v.Get(s.column("rank")); ok && f.Kind == rows.Number {
		if n.rank, err = strconv.ParseFloat(f.Text, 64); err != nil || n.rank != n.rank {
			return nil, row.Errorf(s.column("rank"), "want a rank from 0, found %s", f.Text)
		}
	}
	if f, ok := v.Get(s.column("lang")); ok && f.Kind == rows.String {
		n.lang = f.Text
	}
	return n, nil
}

// ids finds a message's own id and its parent's by OASST's names: message_id
// and parent_id in the published files; in backend exports parent_message_id,
// which refers to user_message_id.
func (s *sourceReader) ids(row *rows.Row, v *rows.Value) (id, parent string, err error) {
	idName, parentName := s.column("id"), s.column("parent")
	if idName == "" {
		idName = "message_id"
		if _, ok := v.Get("user_message_id"); ok {
			idName = "user_message_id"
		}
	}
	if parentName == "" {
		parentName = "parent_id"
		if _, ok := v.Get("parent_message_id"); ok {
			parentName = "parent_message_id"
		}
	}
	f, ok := v.Get(idName)
	if !ok {
		return "", "", row.Errorf(idName, "the column is missing")
	}
	if id, err = asText(row, idName, f); err != nil {
		return "", "", err
	}
	if f, ok = v.Get(parentName); ok && f.Kind != rows.Null {
		if parent, err = asText(row, parentName, f); err != nil {
			return "", "", err
		}
	}
	return id, parent, nil
}

// tree reads a nested message.
func (s *sourceReader) tree(row *rows.Row, v *rows.Value, order, depth int) (*node, error) {
	if err := object(row, v); err != nil {
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
