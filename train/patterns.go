package train

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"leolm/checkpoint"
	"leolm/tensor"
)

// PatternError says that a pattern of the recipe matches nothing of the model.
type PatternError struct {
	Key     string   // of the recipe
	Pattern string   // as written
	Left    []string // modules that it would match, had lora.targets not left them out
	Names   []string // what it is matched against, of one layer
}

func (e *PatternError) Error() string {
	if len(e.Left) > 0 {
		return fmt.Sprintf("%s: %q matches only modules that lora.targets leaves out, such as %s", e.Key, e.Pattern, e.Left[0])
	}
	return fmt.Sprintf("%s: %q matches nothing of this model; it has %s, and the same in the other layers", e.Key, e.Pattern, strings.Join(e.Names, ", "))
}

// BlockError reports a matrix that can't be stored in blocks of lora.base_type.
type BlockError struct {
	Type   tensor.DType
	Tensor string
	Width  int // its columns
}

func (e *BlockError) Error() string {
	return fmt.Sprintf("lora.base_type %v stores blocks of %d values, but %s has %d columns, which is no multiple", e.Type, e.Type.BlockLen(), e.Tensor, e.Width)
}

// checkBaseType refuses a type of the frozen weights that does not fit a matrix of the model.
func (c *Config) checkBaseType(m *checkpoint.Config) error {
	if c.LoRA.BaseType == "" {
		return nil
	}
	to, err := tensor.ParseDType(c.LoRA.BaseType)
	if err != nil {
		return err
	}
	for _, s := range m.TensorShapes() {
		if width := s.Shape[len(s.Shape)-1]; len(s.Shape) == 2 && width%to.BlockLen() != 0 {
			return &BlockError{Type: to, Tensor: s.Name, Width: width}
		}
	}
	return nil
}

// checkPatterns refuses patterns that match nothing of a model: what they ask for would silently not happen.
func (c *Config) checkPatterns(m *checkpoint.Config) error {
	var tensors, modules []string
	for _, s := range m.TensorShapes() {
		tensors = append(tensors, s.Name)
		if name, ok := strings.CutSuffix(s.Name, ".weight"); ok && slices.ContainsFunc(Projections, func(p string) bool { return strings.HasSuffix(name, p) }) {
			modules = append(modules, name)
		}
	}
	for _, p := range c.Model.Train {
		match := func(name string) bool {
			ok, err := path.Match(p, name)
			return ok && err == nil
		}
		if p != newRows && !slices.ContainsFunc(tensors, match) {
			return &PatternError{Key: "model.train", Pattern: p, Names: ofOneLayer(tensors)}
		}
	}
	if c.LoRA == nil {
		return nil
	}
	if err := c.checkBaseType(m); err != nil {
		return err
	}
	for _, list := range [...]struct {
		key      string
		patterns []string
	}{
		{"lora.rank_pattern", slices.Sorted(maps.Keys(c.LoRA.RankPattern))},
		{"lora.alpha_pattern", slices.Sorted(maps.Keys(c.LoRA.AlphaPattern))},
	} {
		for _, p := range list.patterns {
			re, err := pattern(p)
			if err != nil {
				return fmt.Errorf("%s: %q: %w", list.key, p, err)
			}
			var hit []string
			for _, name := range modules {
				if re.MatchString(name) {
					hit = append(hit, name)
				}
			}
			if !slices.ContainsFunc(hit, func(name string) bool { return targets(c.LoRA.Targets, name) }) {
				return &PatternError{Key: list.key, Pattern: p, Left: hit, Names: ofOneLayer(modules)}
			}
		}
	}
	return nil
}

// ofOneLayer leaves out what repeats in every layer.
func ofOneLayer(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return strings.HasPrefix(name, "model.layers.") && !strings.HasPrefix(name, "model.layers.0.")
	})
}
