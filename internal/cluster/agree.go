package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Fact is what must be the same on all ranks, such as the digest of a recipe.
type Fact struct{ Name, Value string }

// Agree compares facts among all ranks of the group. If some differ, all ranks return the same [*DisagreeError].
func (c *Comm) Agree(ctx context.Context, facts ...Fact) error {
	all, err := c.Gather(ctx, packFacts(facts))
	if err != nil {
		return err
	}
	first, err := unpackFacts(all[0])
	if err != nil {
		return err
	}
	var wrong []Difference
	differ := make([]bool, len(first))
	for r := 1; r < len(all); r++ {
		list, err := unpackFacts(all[r])
		if err != nil {
			return err
		}
		if len(list) != len(first) {
			return &DisagreeError{[]Difference{{"the number of facts", [2]int{0, r}, [2]string{fmt.Sprint(len(first)), fmt.Sprint(len(list))}}}}
		}
		for i, f := range list {
			switch {
			case differ[i]:
			case f.Name != first[i].Name:
				wrong = append(wrong, Difference{"the name of a fact", [2]int{0, r}, [2]string{first[i].Name, f.Name}})
				differ[i] = true
			case f.Value != first[i].Value:
				wrong = append(wrong, Difference{f.Name, [2]int{0, r}, [2]string{first[i].Value, f.Value}})
				differ[i] = true
			}
		}
	}
	if len(wrong) > 0 {
		return &DisagreeError{wrong}
	}
	return nil
}

func packFacts(facts []Fact) []byte {
	var b []byte
	for _, f := range facts {
		for _, s := range []string{f.Name, f.Value} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

func unpackFacts(b []byte) ([]Fact, error) {
	next := func() (string, error) {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return "", fmt.Errorf("cluster: facts are cut off")
		}
		s := string(b[used : used+int(n)])
		b = b[used+int(n):]
		return s, nil
	}
	var facts []Fact
	for len(b) > 0 {
		name, err := next()
		if err != nil {
			return nil, err
		}
		value, err := next()
		if err != nil {
			return nil, err
		}
		facts = append(facts, Fact{name, value})
	}
	return facts, nil
}
