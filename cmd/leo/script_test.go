package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"leolm/internal/cluster"
)

func TestMain(m *testing.M) {
	testscript.Main(heedful{m}, map[string]func(){"leo": func() { cluster.Exit(run()) }})
}

// heedful runs the tests so that the programs they start heed a hang-up, also below nohup, which has it ignored: what a
// process catches, its children get with its default.
type heedful struct{ *testing.M }

func (m heedful) Run() int {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	return m.M.Run()
}

// scriptEnv gives the scripts the tiny models that package checkpoint's tests use, the embedded one, and the documents of
// package germanbench.
func scriptEnv(env *testscript.Env) error {
	for name, path := range map[string]string{
		"MODELS": "../../checkpoint/testdata/models", "DOCUMENTS": "../../eval/germanbench/testdata/documents", "LEOMINI": "../../models/leo-mini/leo-mini.gguf",
	} {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		env.Setenv(name, abs)
	}
	return nil
}

// The scripts show what the commands print and refuse.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: scriptEnv})
}
