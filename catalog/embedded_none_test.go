//go:build nomodel

package catalog

import (
	"errors"
	"testing"
)

func TestNoEmbeddedModel(t *testing.T) {
	if _, err := Open("", Options{}); !errors.Is(err, ErrNoModel) {
		t.Errorf("got %v, want ErrNoModel", err)
	}
}
