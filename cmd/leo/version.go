package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"leolm/internal/kernel/cpu"
)

type versionInfo struct {
	Version   string `json:"version"`
	Commit    string `json:"commit"`
	Go        string `json:"go"`
	Platform  string `json:"platform"`
	CPULevel  string `json:"cpu_level"`
	CPUBest   string `json:"cpu_detected"`
	CPUCount  int    `json:"cpus"`
	CGOIsOn   bool   `json:"cgo"`
	Dirtiness bool   `json:"modified"`
}

func newVersionCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say commit, Go version and the CPU level in use",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cpu.Check(); err != nil {
				return err
			}
			v := readVersion()
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(v)
			}
			modified := ""
			if v.Dirtiness {
				modified = " (modified)"
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "leo %s\ncommit %s%s\n%s %s\ncpu level %s (machine: %s), %d cores\n",
				v.Version, v.Commit, modified, v.Go, v.Platform, v.CPULevel, v.CPUBest, v.CPUCount)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func readVersion() versionInfo {
	v := versionInfo{
		Version: "(devel)", Commit: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		CPULevel: cpu.Active.String(), CPUBest: cpu.Detected.String(), CPUCount: runtime.GOMAXPROCS(0),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Dirtiness = s.Value == "true"
		case "CGO_ENABLED":
			v.CGOIsOn = s.Value == "1"
		}
	}
	return v
}
