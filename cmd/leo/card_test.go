package main

import (
	"bytes"
	"os"
	"testing"

	"leolm/card"
)

// leo-mini's card is what leo card makes of its configuration, to the byte.
func TestCardOfLeoMini(t *testing.T) {
	c, err := card.LoadConfig("../../models/leo-mini/card.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := card.Gather(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Render()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../models/leo-mini/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("models/leo-mini/README.md is another; leo card --config models/leo-mini/card.yaml --output models/leo-mini/README.md --force writes it")
	}
}
