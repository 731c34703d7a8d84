package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"leo": func() { os.Exit(run()) }})
}

// scriptEnv gives the scripts the tiny models that package checkpoint's tests use.
func scriptEnv(env *testscript.Env) error {
	models, err := filepath.Abs("../../checkpoint/testdata/models")
	env.Setenv("MODELS", models)
	return err
}

// The scripts show what the commands print and refuse.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: scriptEnv})
}
