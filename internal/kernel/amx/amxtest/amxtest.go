// Package amxtest runs tests of packages that multiply in bf16 at the level amx on any machine: in package amx's model of
// the matrix units.
package amxtest

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"leolm/internal/kernel/amx"
	"leolm/internal/kernel/gemm"
)

// Run runs f with all products of bf16 on the model of the matrix units. Nothing may multiply beside it, and the operands
// of products must not lie on a stack. A fault in a kernel ends the program; a test without such a product fails.
func Run(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	p, err := amx.ParseFile(filepath.Join(root(t), "internal/kernel/gemm/matrix_amd64.s"))
	if err != nil {
		t.Fatal(err)
	}
	var kernels atomic.Int64
	restore := gemm.UseModel(func(kernel string, argument []byte, operands [][]byte) {
		kernels.Add(1)
		if err := p.Call(kernel, argument, operands); err != nil {
			panic(err) // a worker's: it has no test to fail
		}
	})
	defer restore()
	t.Run("matrix units", f)
	if kernels.Load() == 0 {
		t.Error("no kernel of the matrix units ran")
	}
}

// root is the folder of the module that the test is in.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			t.Fatalf("no go.mod above %s", dir)
		}
	}
}
