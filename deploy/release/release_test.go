package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

var at = time.Date(2026, 11, 29, 4, 45, 2, 0, time.UTC)

func built() *debug.BuildInfo {
	return &debug.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Path: "leolm", Version: "v1.2.3"},
		Deps: []*debug.Module{
			{Path: "github.com/BurntSushi/toml", Version: "v1.0.0+incompatible", Sum: "h1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
		},
		Settings: []debug.BuildSetting{
			{Key: "-trimpath", Value: "true"}, {Key: "CGO_ENABLED", Value: "0"}, {Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"},
			{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "false"}, {Key: "-tags", Value: "nodl"},
		},
	}
}

func TestBillOfMaterials(t *testing.T) {
	p := platform{os: "linux", arch: "arm64"}
	bom, err := billOfMaterials(built(), []byte("program"), []byte("model"), at)
	if err != nil {
		t.Fatal(err)
	}
	again, err := billOfMaterials(built(), []byte("program"), []byte("model"), at)
	if err != nil || !bytes.Equal(bom, again) {
		t.Errorf("a second list differs: %v", err)
	}
	other, err := billOfMaterials(built(), []byte("another program"), []byte("model"), at)
	if err != nil {
		t.Fatal(err)
	}
	var doc, doc2 bomDoc
	if err := json.Unmarshal(bom, &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(other, &doc2); err != nil {
		t.Fatal(err)
	}
	// The form that the schema of CycloneDX demands of a serial number.
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.Serial) || doc.Serial == doc2.Serial {
		t.Errorf("serial numbers %q and %q", doc.Serial, doc2.Serial)
	}
	if doc.Metadata.Component.Version != "v1.2.3" || doc.Metadata.Timestamp != "2026-11-29T04:45:02Z" {
		t.Errorf("metadata %+v", doc.Metadata)
	}
	var names []string
	for _, c := range doc.Components {
		names = append(names, c.Type+" "+c.Name+" "+c.Version)
	}
	want := []string{"library std 1.26.8", "machine-learning-model leo-mini ", "library github.com/BurntSushi/toml v1.0.0+incompatible"}
	if !slices.Equal(names, want) {
		t.Errorf("components %q", names)
	}
	toml := doc.Components[2]
	if toml.PURL != "pkg:golang/github.com/burntsushi/toml@v1.0.0%2Bincompatible?type=module" ||
		toml.Hashes[0].Content != "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" {
		t.Errorf("module %+v", toml)
	}
	if d := doc.Dependencies[0]; d.Ref != doc.Metadata.Component.Ref || len(d.DependsOn) != 3 {
		t.Errorf("dependencies %+v", d)
	}

	replaced, unsummed := built(), built()
	replaced.Deps[0].Replace = &debug.Module{Path: "../toml"}
	unsummed.Deps[0].Sum = ""
	for want, info := range map[string]*debug.BuildInfo{"is replaced by ../toml": replaced, "no hash": unsummed} {
		if _, err := billOfMaterials(info, nil, nil, at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := checkBuild(built(), p, "abc"); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*debug.BuildInfo){
		`vcs.modified="true"`:   func(b *debug.BuildInfo) { b.Settings[5].Value = "true" },
		`vcs.revision="abcd"`:   func(b *debug.BuildInfo) { b.Settings[4].Value = "abcd" },
		`CGO_ENABLED="1"`:       func(b *debug.BuildInfo) { b.Settings[1].Value = "1" },
		`GOARCH="amd64"`:        func(b *debug.BuildInfo) { b.Settings[3].Value = "amd64" },
		`-tags=""`:              func(b *debug.BuildInfo) { b.Settings = b.Settings[:6] },
		`-trimpath=""`:          func(b *debug.BuildInfo) { b.Settings = b.Settings[1:] },
		"the build has no vers": func(b *debug.BuildInfo) { b.Main.Version = "(devel)" },
	} {
		info := built()
		change(info)
		if err := checkBuild(info, p, "abc"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// There is a program that loads libraries for both kinds of Linux, and every archive has a name of its own.
func TestPlatforms(t *testing.T) {
	names := map[string]bool{}
	for _, p := range platforms {
		names[p.archive("v1")] = true
	}
	for _, arch := range []string{"amd64", "arm64"} {
		if static := "leo-v1-linux-" + arch; !names[static+".tar.gz"] || !names[static+"-glibc.tar.gz"] {
			t.Errorf("%s: archives %v", arch, names)
		}
	}
	if len(names) != len(platforms) {
		t.Errorf("%d platforms, %d archives", len(platforms), len(names))
	}
}

// The second program for Linux has another name and no tag, and is told from the static one.
func TestProgramsThatLoadLibraries(t *testing.T) {
	p := platform{os: "linux", arch: "arm64", glibc: true}
	if name := p.archive("v1.2.3"); name != "leo-v1.2.3-linux-arm64-glibc.tar.gz" {
		t.Error(name)
	}
	if err := checkBuild(built(), p, "abc"); err == nil || !strings.Contains(err.Error(), `-tags="nodl", want ""`) {
		t.Error(err)
	}
	info := built()
	info.Settings = info.Settings[:6]
	if err := checkBuild(info, p, "abc"); err != nil {
		t.Error(err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("looks at this test's own program, which is none for Linux")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	static := platform{os: "linux", arch: runtime.GOARCH}
	dynamic := static
	dynamic.glibc = true
	wrong, want := checkLoader(dynamic, self), "it cannot load libraries"
	if err := checkLoader(static, self); err != nil { // built with cgo
		wrong, want = err, "it names a dynamic loader"
	}
	if wrong == nil || !strings.Contains(wrong.Error(), want) {
		t.Errorf("%v, want %q", wrong, want)
	}
}

func TestArchives(t *testing.T) {
	dir := t.TempDir()
	files := []entry{{name: "man/man1/leo.1", data: []byte("page")}, {name: "leo", data: []byte("program"), program: true}}
	const want = "x/leo 755 program 2026-11-29 04:45:02; x/man/man1/leo.1 644 page 2026-11-29 04:45:02; "
	for _, name := range []string{"a.tar.gz", "a.zip"} {
		path := filepath.Join(dir, name)
		if err := writeArchive(path, "x", files, at); err != nil {
			t.Fatal(err)
		}
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := listArchive(t, first, name); got != want {
			t.Errorf("%s holds %s, want %s", name, got, want)
		}
		slices.Reverse(files)
		if err := writeArchive(path, "x", files, at); err != nil {
			t.Fatal(err)
		}
		if second, err := os.ReadFile(path); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s: files in another order give other bytes: %v", name, err)
		}
	}
	sums, err := checksums(dir, []string{"a.zip", "a.tar.gz"})
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{64}  a\.zip\n[0-9a-f]{64}  a\.tar\.gz\n$`).MatchString(sums) {
		t.Errorf("%q, %v", sums, err)
	}
	if _, err := checksums(dir, []string{"missing"}); err == nil {
		t.Error("a missing file has a checksum")
	}
}

func listArchive(t *testing.T, data []byte, name string) string {
	t.Helper()
	var b strings.Builder
	add := func(name string, mode os.FileMode, r io.Reader, at time.Time) {
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %o %s %s; ", name, mode, body, at.UTC().Format(time.DateTime))
	}
	if filepath.Ext(name) == ".zip" {
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			add(f.Name, f.Mode(), r, f.Modified)
		}
		return b.String()
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		add(head.Name, os.FileMode(head.Mode), r, head.ModTime)
	}
}

func TestLicenseFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := licenseFiles(dir); err == nil {
		t.Error("a module without a license was taken")
	}
	for _, name := range []string{"LICENSE", "license.md", "COPYING-BSD", "NOTICE.txt", "PATENTS", "Licence", "licensed.go", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	found, err := licenseFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.name)
	}
	if want := []string{"COPYING-BSD", "LICENSE", "Licence", "NOTICE.txt", "PATENTS", "license.md"}; !slices.Equal(names, want) {
		t.Errorf("found %q, want %q", names, want)
	}
}
