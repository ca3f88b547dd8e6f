package image

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
)

// Program is the image of one program with everything it is linked to: the program is the entry point, at the root.
func Program(reference, binary string, args, env []string) (Image, error) {
	files := []File{{Path: "/" + filepath.Base(binary), Source: binary}}
	libraries, err := libraries(binary)
	if err != nil {
		return Image{}, err
	}
	for _, library := range libraries {
		files = append(files, File{Path: library, Source: library})
	}
	return Image{
		Reference:  reference,
		Files:      files,
		Entrypoint: append([]string{"/" + filepath.Base(binary)}, args...),
		Env:        append([]string{"PATH=/"}, env...),
	}, nil
}

// libraries lists the loader and the shared libraries of a program, at the paths where its loader looks for them.
func libraries(binary string) ([]string, error) {
	file, err := elf.Open(binary)
	if err != nil {
		return nil, fmt.Errorf("%s is not a program for this machine: %w", binary, err)
	}
	defer file.Close()
	dynamic := false
	for _, part := range file.Progs {
		dynamic = dynamic || part.Type == elf.PT_INTERP
	}
	if !dynamic {
		return nil, nil
	}
	output, err := exec.Command("ldd", binary).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", binary, err)
	}
	return parseLdd(string(output))
}

var (
	lddLine    = regexp.MustCompile(`(?m)^\s+(?:\S+ => )?(/\S+) \(0x`)
	lddMissing = regexp.MustCompile(`(?m)^\s+(\S+) => not found`)
)

// parseLdd reads the paths out of ldd's answer; what has no path is the kernel's own.
func parseLdd(output string) ([]string, error) {
	if missing := lddMissing.FindStringSubmatch(output); missing != nil {
		return nil, fmt.Errorf("the library %s is not installed", missing[1])
	}
	var paths []string
	for _, match := range lddLine.FindAllStringSubmatch(output, -1) {
		paths = append(paths, match[1])
	}
	return paths, nil
}
