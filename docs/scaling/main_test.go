package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The page's tables are those of the plans: go generate ./docs/scaling writes them.
func TestPageIsThePlan(t *testing.T) {
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := allTables("../../recipes", assumed)
	if err != nil {
		t.Fatal(err)
	}
	filled, err := fill(page, tables)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(filled, page) {
		t.Error("docs/scaling.md has other tables than the plans: go generate ./docs/scaling")
	}
	again, err := fill(filled, tables)
	if err != nil || !bytes.Equal(again, filled) {
		t.Errorf("filled twice, the page differs: %v", err)
	}
}

// Twice the nodes compute a step in half the time, and a faster network takes less of it.
func TestTable(t *testing.T) {
	one, err := table("../../recipes/"+recipe, "", machine{cores: 64, gflops: 100, share: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	two, err := table("../../recipes/"+recipe, "", machine{cores: 128, gflops: 100, share: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	row := func(table, begin string) string {
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, begin) {
				return strings.Split(line, "|")[5]
			}
		}
		t.Fatalf("no row %q in\n%s", begin, table)
		return ""
	}
	if a, b := row(one, "| 16 | `none`"), row(two, "| 8 | `none`"); a != b {
		t.Errorf("16 nodes take %s, 8 of twice the speed %s", a, b)
	}
}
