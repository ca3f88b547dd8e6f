package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func twoImages(t *testing.T) []Image {
	program := filepath.Join(t.TempDir(), "demo")
	if err := os.WriteFile(program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []File{{"/demo", program}, {"/lib/x86_64-linux-gnu/libc.so.6", program}}
	return []Image{
		{Reference: "lab/demo:v1", Files: files, Entrypoint: []string{"/demo"}, Env: []string{"V=1"}},
		{Reference: "lab/demo:v2", Files: files, Entrypoint: []string{"/demo"}, Env: []string{"V=2"}},
	}
}

func entries(t *testing.T, content io.Reader) map[string][]byte {
	found := map[string][]byte{}
	reader := tar.NewReader(content)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = body
	}
}

func TestTheArchiveHoldsEveryBlobUnderItsDigest(t *testing.T) {
	var output bytes.Buffer
	digests, err := Write(&output, twoImages(t))
	if err != nil {
		t.Fatal(err)
	}
	found := entries(t, &output)
	blobs := 0
	for name, content := range found {
		if strings.HasPrefix(name, "blobs/") {
			blobs++
			if want := "blobs/" + strings.Replace(digest(content), ":", "/", 1); name != want {
				t.Errorf("%s holds the content of %s", name, want)
			}
		}
	}
	// Two manifests, two configurations, and one layer that both share.
	if blobs != 5 {
		t.Errorf("%d blobs", blobs)
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(found["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	for _, manifest := range index.Manifests {
		reference := manifest.Annotations["io.containerd.image.name"]
		if digests[reference] != manifest.Digest {
			t.Errorf("%s: %s in the index, %s told", reference, manifest.Digest, digests[reference])
		}
	}
}

func TestTheSameImagesGiveTheSameBytes(t *testing.T) {
	images := twoImages(t)
	var first, second bytes.Buffer
	if _, err := Write(&first, images); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(&second, images); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the archives differ")
	}
}

func TestALayerHasATemporaryFolderAndEveryFolderOnTheWay(t *testing.T) {
	var layer bytes.Buffer
	if err := writeLayer(&layer, twoImages(t)[0].Files); err != nil {
		t.Fatal(err)
	}
	reader := tar.NewReader(&layer)
	var names []string
	for header, err := reader.Next(); err == nil; header, err = reader.Next() {
		names = append(names, header.Name)
		if header.Name == "tmp/" && header.Mode != 0o1777 {
			t.Errorf("/tmp has mode %o", header.Mode)
		}
	}
	want := []string{"lib/", "lib/x86_64-linux-gnu/", "tmp/", "demo", "lib/x86_64-linux-gnu/libc.so.6"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("got %v", names)
	}
}

func TestThePathsOfLibrariesAreReadFromLdd(t *testing.T) {
	output := "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n" +
		"\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
	paths, err := parseLdd(output)
	want := []string{"/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}
	if err != nil || !reflect.DeepEqual(paths, want) {
		t.Errorf("got %v, %v", paths, err)
	}
	if _, err := parseLdd("\tlibmissing.so.1 => not found\n"); err == nil {
		t.Error("a missing library must be an error")
	}
}
