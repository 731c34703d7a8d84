package rows

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// startYAML decodes the whole file, which must not be larger than MaxRow.
func (r *Reader) startYAML(src io.Reader, opt Options) error {
	return r.startList(opt, func() (v Value, line int64, err error) {
		data, err := io.ReadAll(io.LimitReader(src, int64(opt.MaxRow)+1))
		if err != nil {
			return v, 0, err
		}
		if len(data) > opt.MaxRow {
			return v, 0, errTooLong
		}
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("not valid YAML: %v", p)
			}
		}()
		var doc any
		if err := yaml.UnmarshalWithOptions(data, &doc, yaml.UseOrderedMap()); err != nil {
			return v, 0, fmt.Errorf("not valid YAML: %w", err)
		}
		return fromYAML(doc, 0)
	})
}

func fromYAML(x any, depth int) (Value, int64, error) {
	if depth > maxDepth {
		return Value{}, 0, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	switch x := x.(type) {
	case nil:
		return Value{}, 0, nil
	case string:
		return Value{Kind: String, Text: x}, 0, nil
	case bool:
		return Value{Kind: Bool, Text: strconv.FormatBool(x)}, 0, nil
	case float64:
		return Value{Kind: Number, Text: strconv.FormatFloat(x, 'g', -1, 64)}, 0, nil
	case int, int64, uint64:
		return Value{Kind: Number, Text: fmt.Sprint(x)}, 0, nil
	case []any:
		v := Value{Kind: List, Items: make([]Value, len(x))}
		for i, item := range x {
			var err error
			if v.Items[i], _, err = fromYAML(item, depth+1); err != nil {
				return v, 0, err
			}
		}
		return v, 0, nil
	case yaml.MapSlice:
		v := Value{Kind: Object}
		for _, item := range x {
			value, _, err := fromYAML(item.Value, depth+1)
			if err != nil {
				return v, 0, err
			}
			v.Names = append(v.Names, strings.TrimSpace(fmt.Sprint(item.Key)))
			v.Items = append(v.Items, value)
		}
		return v, 0, nil
	}
	return Value{Kind: String, Text: fmt.Sprint(x)}, 0, nil
}
