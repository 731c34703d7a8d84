package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(context.Background(), &out, "", "Was ist ein Vulkan?"); err != nil {
		t.Fatal(err)
	}
	want := `^Ein Vulkan ist ein Berg\.[^\n]*\n\(\d+ tokens; it ended by stop\)\n"Der Mond[^\n]*": [1-4]\.\d bits per byte\n$`
	if !regexp.MustCompile(want).MatchString(out.String()) {
		t.Errorf("got\n%s\nwant %s", &out, want)
	}
	if err := run(context.Background(), &out, "no/such/folder", "x"); err == nil {
		t.Error("a model that isn't there was opened")
	}
}
