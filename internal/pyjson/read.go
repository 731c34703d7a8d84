package pyjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// RawMember is one key of an object and its value, not yet decoded.
type RawMember struct {
	Key   string
	Value json.RawMessage
}

// ErrNotUTF8 says that data is not text that Python's json module reads.
var ErrNotUTF8 = errors.New("the text is not UTF-8")

// Members reads an object in the order of its keys. Of a key that occurs twice the last value counts, at the place of the
// first, as in a Python dict.
func Members(data []byte) ([]RawMember, error) {
	if !utf8.Valid(data) {
		return nil, ErrNotUTF8
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := delim(dec, '{'); err != nil {
		return nil, err
	}
	var out []RawMember
	place := map[string]int{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := RawMember{Key: key.(string)} // the decoder has checked that a key is a string
		if err := dec.Decode(&m.Value); err != nil {
			return nil, fmt.Errorf("%q: %w", m.Key, err)
		}
		if i, twice := place[m.Key]; twice {
			out[i] = m
			continue
		}
		place[m.Key] = len(out)
		out = append(out, m)
	}
	if err := delim(dec, '}'); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("text follows the object")
	}
	return out, nil
}

func delim(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && t != want {
		err = fmt.Errorf("want %v, found %v", want, t)
	}
	return err
}
