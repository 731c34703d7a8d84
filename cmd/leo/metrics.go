package main

import (
	"encoding/json"
	"os"

	"leolm/train"
)

// metrics appends one JSON object per step and evaluation.
type metrics struct{ f *os.File }

func openMetrics(path string) (*metrics, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	return &metrics{f}, nil
}

func (m *metrics) put(v any) {
	b, err := json.Marshal(v)
	if err == nil {
		m.f.Write(append(b, '\n'))
	}
}

func (m *metrics) step(s train.Step) { m.put(s) }
func (m *metrics) eval(e train.Eval) { m.put(e) }

func (m *metrics) Close() error { return m.f.Close() }
