package constrain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// object is a JSON object that keeps the order of its keys.
type object struct {
	keys []string
	vals map[string]any
}

func decode(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("more than one JSON value, at byte %d", dec.InputOffset())
	}
	return v, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('['):
		out := []any{}
		for dec.More() {
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		_, err := dec.Token()
		return out, err
	case json.Delim('{'):
		o := &object{vals: map[string]any{}}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if _, twice := o.vals[key]; twice {
				return nil, fmt.Errorf("the key %q occurs twice, before byte %d", key, dec.InputOffset())
			}
			o.keys = append(o.keys, key)
			o.vals[key] = v
		}
		_, err := dec.Token()
		return o, err
	}
	return t, nil
}

// canonical is one text for equal JSON values.
func canonical(v any) string {
	switch v := v.(type) {
	case *object:
		keys := slices.Sorted(slices.Values(v.keys))
		var b strings.Builder
		b.WriteByte('{')
		for _, k := range keys {
			b.WriteString(quote(k) + ":" + canonical(v.vals[k]) + ",")
		}
		return b.String() + "}"
	case []any:
		var b strings.Builder
		b.WriteByte('[')
		for _, x := range v {
			b.WriteString(canonical(x) + ",")
		}
		return b.String() + "]"
	case json.Number:
		if len(v) < 100 && !strings.ContainsAny(string(v), "eE") {
			if r, ok := new(big.Rat).SetString(string(v)); ok {
				return r.RatString()
			}
		}
		return string(v)
	case string:
		return quote(v)
	case patternList:
		return canonical([]any(v))
	}
	return fmt.Sprint(v) // true, false
}

func canonicalAny(v any) string {
	if v == nil {
		return "null"
	}
	return canonical(v)
}
