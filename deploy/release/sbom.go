package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
)

// The list of components is CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), written from what the Go linker
// stored in the program, which is the truth about what is in it.

type bomDoc struct {
	Format       string          `json:"bomFormat"`
	Spec         string          `json:"specVersion"`
	Serial       string          `json:"serialNumber,omitempty"`
	Version      int             `json:"version"`
	Metadata     bomMetadata     `json:"metadata"`
	Components   []bomComponent  `json:"components"`
	Dependencies []bomDependency `json:"dependencies"`
}

type bomMetadata struct {
	Timestamp string       `json:"timestamp"`
	Component bomComponent `json:"component"`
}

type bomComponent struct {
	Type       string        `json:"type"`
	Ref        string        `json:"bom-ref"`
	Name       string        `json:"name"`
	Version    string        `json:"version,omitempty"`
	Hashes     []bomHash     `json:"hashes,omitempty"`
	Licenses   []bomLicense  `json:"licenses,omitempty"`
	PURL       string        `json:"purl,omitempty"`
	Properties []bomProperty `json:"properties,omitempty"`
}

type bomHash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type bomLicense struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type bomProperty struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type bomDependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// billOfMaterials lists what a program is made of: the modules that are linked in, Go's own packages, and the
// embedded model.
func billOfMaterials(info *debug.BuildInfo, program, model []byte, at time.Time) ([]byte, error) {
	leo := bomComponent{
		Type: "application", Ref: purl(info.Main.Path, info.Main.Version), Name: "leo", Version: info.Main.Version,
		Hashes: []bomHash{sha256Of(program)}, Licenses: licensed("Apache-2.0"), PURL: purl(info.Main.Path, info.Main.Version),
	}
	for _, s := range info.Settings {
		leo.Properties = append(leo.Properties, bomProperty{"build:" + s.Key, s.Value})
	}
	std := strings.TrimPrefix(info.GoVersion, "go")
	parts := []bomComponent{
		{Type: "library", Ref: purl("std", std), Name: "std", Version: std, Licenses: licensed("BSD-3-Clause"), PURL: purl("std", std)},
		{
			Type: "machine-learning-model", Ref: "model:leo-mini", Name: "leo-mini",
			Hashes: []bomHash{sha256Of(model)}, Licenses: licensed("CC-BY-SA-4.0"),
		},
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			return nil, fmt.Errorf("%s is replaced by %s: a release is built from published modules", m.Path, m.Replace.Path)
		}
		sum, err := moduleHash(m.Sum)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		parts = append(parts, bomComponent{
			Type: "library", Ref: purl(m.Path, m.Version), Name: m.Path, Version: m.Version, Hashes: []bomHash{sum}, PURL: purl(m.Path, m.Version),
		})
	}
	all := bomDependency{Ref: leo.Ref, DependsOn: []string{}}
	for _, c := range parts {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	doc := bomDoc{
		Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata:   bomMetadata{Timestamp: at.UTC().Format(time.RFC3339), Component: leo},
		Components: parts, Dependencies: []bomDependency{all},
	}
	// The serial number names this content, so that the same build gives the same file.
	content, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	doc.Serial = serial(content)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(doc)
	return b.Bytes(), err
}

// purl names a Go module (https://github.com/package-url/purl-spec).
func purl(path, version string) string {
	return "pkg:golang/" + strings.ToLower(path) + "@" + url.QueryEscape(version) + "?type=module"
}

func licensed(id string) []bomLicense {
	l := make([]bomLicense, 1)
	l[0].License.ID = id
	return l
}

func sha256Of(data []byte) bomHash {
	sum := sha256.Sum256(data)
	return bomHash{"SHA-256", hex.EncodeToString(sum[:])}
}

// moduleHash is the hash of go.sum, a SHA-256 of the names and hashes of a module's files.
func moduleHash(sum string) (bomHash, error) {
	text, ok := strings.CutPrefix(sum, "h1:")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != sha256.Size {
		return bomHash{}, fmt.Errorf("the build has no hash of the module: %q", sum)
	}
	return bomHash{"SHA-256", hex.EncodeToString(raw)}, nil
}

// serial makes a UUID of content: version 8, whose bits are the maker's own (RFC 9562).
func serial(content []byte) string {
	sum := sha256.Sum256(content)
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
