// Package image makes container images out of single programs, as OCI archives, without any container tooling.
package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
)

// Image is one image: a layer of files, and how to run it.
type Image struct {
	Reference  string
	Files      []File
	Entrypoint []string
	Env        []string
	User       string
}

// File is a file of an image's layer.
type File struct {
	// Path is where the file is in the image, Source where its content is on this machine.
	Path, Source string
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// archive collects blobs; images that share a layer share its blob.
type archive struct {
	blobs  map[string][]byte
	layers map[string]layer
}

type layer struct {
	descriptor descriptor
	// diff is the digest of the layer before compression.
	diff string
}

// Write writes an OCI archive of these images and gives the digest of each image's manifest by reference. The same
// input gives the same bytes: nothing in it depends on the time or the machine.
func Write(output io.Writer, images []Image) (map[string]string, error) {
	a := &archive{blobs: map[string][]byte{}, layers: map[string]layer{}}
	digests := map[string]string{}
	var manifests []descriptor
	for _, image := range images {
		manifest, err := a.add(image)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", image.Reference, err)
		}
		manifests = append(manifests, manifest)
		digests[image.Reference] = manifest.Digest
	}
	index := map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
	}
	indexContent, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	return digests, a.writeTar(output, indexContent)
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (a *archive) blob(mediaType string, content []byte) descriptor {
	name := digest(content)
	a.blobs[name] = content
	return descriptor{MediaType: mediaType, Digest: name, Size: len(content)}
}

func (a *archive) json(mediaType string, value any) (descriptor, error) {
	content, err := json.Marshal(value)
	return a.blob(mediaType, content), err
}

func (a *archive) add(image Image) (descriptor, error) {
	files, err := a.layer(image.Files)
	if err != nil {
		return descriptor{}, err
	}
	config, err := a.json("application/vnd.oci.image.config.v1+json", map[string]any{
		"created": "1970-01-01T00:00:00Z", "architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": image.Entrypoint, "Env": image.Env, "User": image.User, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{files.diff}},
	})
	if err != nil {
		return descriptor{}, err
	}
	manifest, err := a.json("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": config, "layers": []descriptor{files.descriptor},
	})
	// containerd takes the name of an image from the first annotation; the second is the standard's.
	manifest.Annotations = map[string]string{
		"io.containerd.image.name":          image.Reference,
		"org.opencontainers.image.ref.name": image.Reference,
	}
	return manifest, err
}

func (a *archive) layer(files []File) (layer, error) {
	key := fmt.Sprint(files)
	if known, ok := a.layers[key]; ok {
		return known, nil
	}
	var plain, packed bytes.Buffer
	if err := writeLayer(&plain, files); err != nil {
		return layer{}, err
	}
	// Fast rather than small: the archive travels from one folder to another.
	compressor, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return layer{}, err
	}
	if _, err := compressor.Write(plain.Bytes()); err != nil {
		return layer{}, err
	}
	if err := compressor.Close(); err != nil {
		return layer{}, err
	}
	made := layer{a.blob("application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes()), digest(plain.Bytes())}
	a.layers[key] = made
	return made, nil
}

// writeLayer writes the files with the folders above them, and a /tmp that every user may write to.
func writeLayer(output io.Writer, files []File) error {
	writer := tar.NewWriter(output)
	folders := map[string]int64{"tmp": 0o1777}
	for _, file := range files {
		for folder := path.Dir(strings.TrimPrefix(file.Path, "/")); folder != "."; folder = path.Dir(folder) {
			if _, known := folders[folder]; !known {
				folders[folder] = 0o755
			}
		}
	}
	names := make([]string, 0, len(folders))
	for name := range folders {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		header := &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: folders[name]}
		if err := writer.WriteHeader(header); err != nil {
			return err
		}
	}
	for _, file := range files {
		content, err := os.ReadFile(file.Source)
		if err != nil {
			return err
		}
		if err := writeFile(writer, strings.TrimPrefix(file.Path, "/"), 0o755, content); err != nil {
			return err
		}
	}
	return writer.Close()
}

func writeFile(writer *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}
	if err := writer.WriteHeader(header); err != nil {
		return err
	}
	_, err := writer.Write(content)
	return err
}

func (a *archive) writeTar(output io.Writer, index []byte) error {
	writer := tar.NewWriter(output)
	if err := writeFile(writer, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := writeFile(writer, "index.json", 0o644, index); err != nil {
		return err
	}
	names := make([]string, 0, len(a.blobs))
	for name := range a.blobs {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		blob := "blobs/" + strings.Replace(name, ":", "/", 1)
		if err := writeFile(writer, blob, 0o644, a.blobs[name]); err != nil {
			return err
		}
	}
	return writer.Close()
}
