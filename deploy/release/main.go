// The program release builds what people download: for each platform an archive with the program, completion files,
// manual pages and the licenses of everything in it; a list of its components (CycloneDX); checksums. The program is
// static; for Linux there is a second one that can load libraries: MPI, Vulkan.
//
//	go run ./deploy/release              builds HEAD into out/release
//	go run ./deploy/release -dry         builds for this machine only, and lists the rest
//
// It builds a commit in a fresh clone, never the working tree, so nothing gets in that isn't committed, and Go stamps
// the version: that of the commit's tag, or a pseudo-version. The same commit and the same Go give the same bytes.
package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"leolm/internal/durable"
)

// platforms are those that there are archives for.
var platforms = []platform{
	{"linux", "amd64", false}, {"linux", "arm64", false},
	{"linux", "amd64", true}, {"linux", "arm64", true},
	{"darwin", "amd64", false}, {"darwin", "arm64", false},
	{"windows", "amd64", false}, {"windows", "arm64", false},
}

type platform struct {
	os, arch string
	glibc    bool // the program loads libraries, through the C library of nearly all distributions
}

func (p platform) String() string {
	if p.glibc {
		return p.os + "-" + p.arch + "-glibc"
	}
	return p.os + "-" + p.arch
}

// tags are those of the build.
func (p platform) tags() string {
	if p.glibc {
		return ""
	}
	return "nodl"
}

func (p platform) program() string {
	if p.os == "windows" {
		return "leo.exe"
	}
	return "leo"
}

// archive is the name of the platform's archive.
func (p platform) archive(version string) string {
	if p.os == "windows" {
		return p.stem(version) + ".zip"
	}
	return p.stem(version) + ".tar.gz"
}

func (p platform) stem(version string) string { return "leo-" + version + "-" + p.String() }

func (p platform) bom(version string) string { return p.stem(version) + ".cdx.json" }

func main() {
	out := flag.String("o", filepath.Join("out", "release"), "folder for the files")
	commit := flag.String("commit", "HEAD", "commit or tag to build")
	dry := flag.Bool("dry", false, "build for this machine only, and list the rest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, *commit, *dry); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, commit string, dry bool) error {
	work, err := os.MkdirTemp("", "leo-release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	s := &sources{ctx: ctx, dir: filepath.Join(work, "src")}
	if err := s.clone(commit); err != nil {
		return err
	}

	native := platform{os: runtime.GOOS, arch: runtime.GOARCH}
	own := filepath.Join(work, native.String(), native.program())
	info, err := s.build(native, own)
	if err != nil {
		return err
	}
	version := info.Main.Version
	fmt.Printf("leo %s, commit %s of %s, by %s\n", version, s.commit, s.time.Format(time.RFC3339), info.GoVersion)
	common, err := s.common(own, filepath.Join(work, "common"), version)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(out); err != nil {
		return err
	}
	var made []string
	for _, p := range platforms {
		if dry && (p.os != native.os || p.arch != native.arch) {
			fmt.Printf("%s, %s: not built\n", p.archive(version), p.bom(version))
			continue
		}
		program := filepath.Join(work, p.String(), p.program())
		if p != native {
			if info, err = s.build(p, program); err != nil {
				return err
			}
		}
		if err := s.pack(p, program, info, common, out); err != nil {
			return fmt.Errorf("%v: %w", p, err)
		}
		fmt.Printf("%s, %s: written\n", p.archive(version), p.bom(version))
		made = append(made, p.archive(version), p.bom(version))
	}
	sums, err := checksums(out, made)
	if err != nil {
		return err
	}
	fmt.Print(sums)
	return durable.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums))
}

// sources is a clone of the repository at the commit that is released.
type sources struct {
	ctx    context.Context
	dir    string
	commit string
	time   time.Time // of the commit: of everything that is made of it
}

// command runs a program in the clone and returns what it prints.
func (s *sources) command(env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.ctx, name, args...)
	cmd.Dir = s.dir
	// Settings of this machine must not change what is built.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0")
	cmd.Env = append(cmd.Env, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// clone checks the commit out into s.dir. A clone and no worktree of git: Go takes no version from those.
func (s *sources) clone(commit string) error {
	from, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return err
	}
	root, err := s.command(nil, "git", "-C", from, "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	if s.commit, err = s.command(nil, "git", "-C", root, "rev-parse", "--verify", "--quiet", commit+"^{commit}"); err != nil {
		return fmt.Errorf("no commit %q: %w", commit, err)
	}
	if _, err := s.command(nil, "git", "clone", "--quiet", "--shared", "--no-checkout", root, "."); err != nil {
		return err
	}
	if _, err := s.command(nil, "git", "-c", "advice.detachedHead=false", "checkout", "--quiet", s.commit); err != nil {
		return err
	}
	seconds, err := s.command(nil, "git", "show", "--no-patch", "--format=%ct", s.commit)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("time of %s: %w", s.commit, err)
	}
	s.time = time.Unix(n, 0).UTC()
	return nil
}

// build makes the program for a platform, and checks that it is what a release must be.
func (s *sources) build(p platform, path string) (*debug.BuildInfo, error) {
	_, err := s.command([]string{"GOOS=" + p.os, "GOARCH=" + p.arch},
		"go", "build", "-trimpath", "-tags="+p.tags(), "-buildvcs=true", "-ldflags=-s -w", "-o", path, "./cmd/leo")
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkBuild(info, p, s.commit), checkLoader(p, path)); err != nil {
		return nil, fmt.Errorf("%v: %w", p, err)
	}
	return info, nil
}

// checkBuild holds what a program says of itself against what was asked for.
func checkBuild(info *debug.BuildInfo, p platform, commit string) error {
	got := map[string]string{}
	for _, s := range info.Settings {
		got[s.Key] = s.Value
	}
	var wrong []error
	for key, want := range map[string]string{
		"GOOS": p.os, "GOARCH": p.arch, "CGO_ENABLED": "0", "-trimpath": "true", "-tags": p.tags(), "vcs.revision": commit, "vcs.modified": "false",
	} {
		if got[key] != want {
			wrong = append(wrong, fmt.Errorf("the build says %s=%q, want %q", key, got[key], want))
		}
	}
	if v := info.Main.Version; v == "" || v == "(devel)" {
		wrong = append(wrong, errors.New("the build has no version: is git there, and the clone no worktree?"))
	}
	return errors.Join(wrong...)
}

// needed are the libraries that a program for Linux may name: parts of glibc.
var needed = []string{"libc.so.6", "libdl.so.2", "libpthread.so.0"}

// checkLoader makes sure that a program for Linux needs no other file to start or, where it loads libraries, glibc only,
// of whatever version.
func checkLoader(p platform, path string) error {
	if p.os != "linux" {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	dynamic := slices.ContainsFunc(f.Progs, func(prog *elf.Prog) bool { return prog.Type == elf.PT_INTERP })
	switch {
	case dynamic && !p.glibc:
		return errors.New("the program is not static: it names a dynamic loader")
	case !dynamic && p.glibc:
		return errors.New("the program names no dynamic loader: it cannot load libraries")
	case !dynamic:
		return nil
	}
	libraries, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, l := range libraries {
		if !slices.Contains(needed, l) && !strings.HasPrefix(l, "ld-linux-") {
			return fmt.Errorf("the program needs %s; of libraries it may need %s", l, strings.Join(needed, ", "))
		}
	}
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return err
	}
	for _, s := range symbols {
		if s.Version != "" {
			return fmt.Errorf("the program needs %s of version %s of %s: older distributions have not", s.Name, s.Version, s.Library)
		}
	}
	return nil
}

// common collects what every archive holds beside the program: completion files and manual pages, which the program
// writes itself, and the texts that go with it.
func (s *sources) common(program, dir, version string) ([]entry, error) {
	said, err := s.command(nil, program, "--version")
	if err != nil {
		return nil, err
	}
	if !strings.Contains(said, version) {
		return nil, fmt.Errorf("the program was built as %s and says %q", version, said)
	}
	var files []entry
	for _, c := range []struct{ shell, name string }{
		{"bash", "leo.bash"}, {"zsh", "_leo"}, {"fish", "leo.fish"}, {"powershell", "leo.ps1"},
	} {
		script, err := s.command(nil, program, "completion", c.shell)
		if err != nil {
			return nil, err
		}
		files = append(files, entry{name: "completions/" + c.name, data: []byte(script + "\n")})
	}
	if _, err := s.command(nil, program, "man", "--dir", dir); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		return nil, err
	}
	if len(pages) == 0 {
		return nil, errors.New("the program wrote no manual pages")
	}
	from := map[string]string{}
	for _, page := range pages {
		from["man/man1/"+filepath.Base(page)] = page
	}
	// NOTICE sends readers to the model's page for its authors.
	for _, name := range []string{"LICENSE", "NOTICE", "models/leo-mini/README.md"} {
		from[name] = filepath.Join(s.dir, filepath.FromSlash(name))
	}
	for name, path := range from {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, entry{name: name, data: data})
	}
	return files, nil
}

// pack writes the archive of a platform and its list of components.
func (s *sources) pack(p platform, program string, info *debug.BuildInfo, common []entry, out string) error {
	data, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	licenses, err := s.licenses(info)
	if err != nil {
		return err
	}
	files := slices.Concat([]entry{{name: p.program(), data: data, program: true}}, common, licenses)
	version := info.Main.Version
	if err := writeArchive(filepath.Join(out, p.archive(version)), p.stem(version), files, s.time); err != nil {
		return err
	}
	model, err := os.ReadFile(filepath.Join(s.dir, "models", "leo-mini", "leo-mini.gguf"))
	if err != nil {
		return err
	}
	bom, err := billOfMaterials(info, data, model, s.time)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(out, p.bom(version)), bom)
}

// licenses are the texts that must travel with the program's modules, and with Go itself.
func (s *sources) licenses(info *debug.BuildInfo) ([]entry, error) {
	args := []string{"list", "-m", "-f", "{{.Path}}\t{{.Dir}}"}
	for _, m := range info.Deps {
		args = append(args, m.Path)
	}
	list, err := s.command(nil, "go", args...)
	if err != nil {
		return nil, err
	}
	root, err := s.command(nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	var files []entry
	for line := range strings.Lines(list + "\ngo\t" + root) {
		module, dir, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		found, err := licenseFiles(dir)
		if err != nil {
			return nil, fmt.Errorf("licenses of %s: %w", module, err)
		}
		for _, f := range found {
			f.name = "licenses/" + module + "/" + f.name
			files = append(files, f)
		}
	}
	return files, nil
}
