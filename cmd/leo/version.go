package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/internal/kernel/cpu"
	"leolm/internal/vulkan"
)

type versionInfo struct {
	Version   string `json:"version"`
	Commit    string `json:"commit"`
	Date      string `json:"commit_date,omitempty"` // of the commit, RFC 3339
	Source    string `json:"commit_from,omitempty"` // "build", or "source folder" of a build without a stamp
	Go        string `json:"go"`
	Platform  string `json:"platform"`
	CPULevel  string `json:"cpu_level"`
	CPUBest   string `json:"cpu_detected"`
	CPUSlow   string `json:"cpu_slower,omitempty"`   // what it has and is faster without
	CPUKept   string `json:"cpu_withheld,omitempty"` // what the processor has and the system keeps back
	CPUCount  int    `json:"cpus"`
	CGOIsOn   bool   `json:"cgo"`
	Dirtiness bool   `json:"modified"`

	Devices []vulkan.Info `json:"devices,omitempty"` // where they were asked for
}

func newVersionCmd() *cobra.Command {
	var asJSON, devices bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print commit and date, Go version and the CPU level in use",
		Long: `Say commit and date, Go version and the CPU level in use.

go build and go install stamp a program with the commit of a checkout, go run
only with -buildvcs=true, and none of them in a worktree of git. Without a stamp
the commit is that of the folder of sources, if it is still there; a program
built with -trimpath doesn't know where that was.

--devices asks Vulkan for the GPUs that --device gpu and gpu:N mean.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cpu.Check(); err != nil {
				return err
			}
			v := readVersion()
			if devices {
				var err error
				if v.Devices, err = vulkan.List(vulkan.Options{}); err != nil {
					return err
				}
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(v)
			}
			best := v.CPUBest
			if v.CPUSlow != "" {
				best += ", faster without " + v.CPUSlow
			}
			if v.CPUKept != "" {
				best += "; " + v.CPUKept
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "leo %s\ncommit %s\n%s %s\ncpu level %s (machine: %s), %d cores\n",
				v.Version, v.commitText(), v.Go, v.Platform, v.CPULevel, best, v.CPUCount)
			if devices && err == nil {
				err = printDevices(cmd.OutOrStdout(), v.Devices)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&devices, "devices", false, "list the GPUs, with memory and limits")
	return cmd
}

// printDevices prints a line for each GPU.
func printDevices(w io.Writer, devices []vulkan.Info) error {
	for _, d := range devices {
		can := ""
		if d.Matrix != (vulkan.Matrix{}) {
			can = fmt.Sprintf(", matrix units %v", d.Matrix)
		}
		if len(d.Lacks) > 0 {
			can += "; cannot be used, lacks " + strings.Join(d.Lacks, ", ")
		}
		if _, err := fmt.Fprintf(w, "gpu:%d %s: %v, Vulkan %s, %s, %s of memory, %s free, %s for a work group, %d lanes%s\n",
			d.Index, d.Name, d.Kind, d.API, d.Driver, bytesText(d.Memory), bytesText(d.Free), bytesText(int64(d.Shared)), d.Lanes, can); err != nil {
			return err
		}
	}
	return nil
}

// commitText formats the commit for people.
func (v *versionInfo) commitText() string {
	text := v.Commit
	if v.Date != "" {
		text += " of " + v.Date
	}
	if v.Dirtiness {
		text += " (modified)"
	}
	if v.Source == fromSources {
		text += ", by the source folder: this build has no stamp"
	}
	return text
}

// short is what --version prints: program, version, commit and date on one line.
func (v *versionInfo) short() string {
	s := "leo " + v.Version
	if v.Commit != unknownCommit && !strings.Contains(v.Version, v.Commit[:min(12, len(v.Commit))]) {
		s += " " + v.Commit[:min(12, len(v.Commit))]
	}
	if day, _, ok := strings.Cut(v.Date, "T"); ok {
		s += " (" + day + ")"
	}
	return s
}

const (
	unknownCommit = "unknown"
	fromBuild     = "build"
	fromSources   = "source folder"
)

// buildVersion returns what the Go toolchain stamped into the binary.
func buildVersion() *versionInfo {
	v := &versionInfo{
		Version: "(devel)", Commit: unknownCommit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		CPULevel: cpu.Active.String(), CPUBest: cpu.Detected.String(), CPUKept: cpu.Withheld, CPUCount: runtime.GOMAXPROCS(0),
	}
	if cpu.Slow != cpu.Generic {
		v.CPUSlow = strings.TrimPrefix(cpu.Slow.String(), "generic+")
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
			v.Commit, v.Source = s.Value, fromBuild
		case "vcs.time":
			v.Date = s.Value
		case "vcs.modified":
			v.Dirtiness = s.Value == "true"
		case "CGO_ENABLED":
			v.CGOIsOn = s.Value == "1"
		}
	}
	return v
}

// readVersion is buildVersion, completed from the source folder where it is at hand: go build and go install stamp the
// commit, but not in a git worktree, and go run does so only with -buildvcs=true.
func readVersion() *versionInfo {
	v := buildVersion()
	if v.Source == "" && !inRanks() {
		if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) { // not with -trimpath
			v.fromFolder(filepath.Dir(file))
		}
	}
	return v
}

// inRanks reports whether this process may have loaded an MPI library: it starts no other program then, for memory that
// network cards know does not survive a fork.
func inRanks() bool {
	several, err := severalRanks()
	return several || err != nil
}

// fromFolder asks git for the commit that a source folder is at.
func (v *versionInfo) fromFolder(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	git := func(args ...string) (string, bool) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "core.fsmonitor=false"}, args...)...)
		// Inside a git hook, variables name another repository.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GIT_") })
		cmd.Env = append(cmd.Env, "GIT_OPTIONAL_LOCKS=0")
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err == nil
	}
	head, ok := git("log", "-1", "--format=%H %cI")
	if !ok {
		return
	}
	v.Source = fromSources
	v.Commit, v.Date, _ = strings.Cut(head, " ")
	if t, err := time.Parse(time.RFC3339, v.Date); err == nil {
		v.Date = t.UTC().Format(time.RFC3339) // as in the build's stamp
	}
	changes, ok := git("status", "--porcelain", "--untracked-files=no")
	v.Dirtiness = ok && changes != ""
}
