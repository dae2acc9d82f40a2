// Reads a ledger with Go's own packages for transparency logs, and prints what it proves.
//
// usage: go run . LEDGER VERIFIER-KEY OLD-SIZE INDEX…
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tiles struct{ folder string }

func (t tiles) Height() int { return 8 }

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		// Paths of c2sp.org/tlog-tiles leave the height out.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func entry(folder string, index, size int64) []byte {
	path := fmt.Sprintf("tile/entries/%03d", index/256)
	if size-index/256*256 < 256 {
		path += fmt.Sprintf(".p/%d", size%256)
	}
	data, err := os.ReadFile(filepath.Join(folder, path))
	check(err)
	for at := int64(0); ; at++ {
		length := int(binary.BigEndian.Uint16(data))
		if at == index%256 {
			return data[2 : 2+length]
		}
		data = data[2+length:]
	}
}

func main() {
	folder := os.Args[1]
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)
	message, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	check(err)
	opened, err := note.Open(message, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	if len(raw) != tlog.HashSize {
		check(fmt.Errorf("the root is no hash"))
	}
	root := tlog.Hash(raw)
	tree := tlog.Tree{N: size, Hash: root}
	reader := tlog.TileHashReader(tree, tiles{folder})
	computed, err := tlog.TreeHash(size, reader)
	check(err)
	if computed != root {
		check(fmt.Errorf("the tiles give another root"))
	}
	out := map[string]any{"size": size, "root": computed[:]}
	old, err := strconv.ParseInt(os.Args[3], 10, 64)
	check(err)
	oldRoot, err := tlog.TreeHash(old, reader)
	check(err)
	proof, err := tlog.ProveTree(size, old, reader)
	check(err)
	check(tlog.CheckTree(proof, size, root, old, oldRoot))
	out["tree"] = proof
	out["oldRoot"] = oldRoot[:]
	records := map[string]tlog.RecordProof{}
	for _, text := range os.Args[4:] {
		index, err := strconv.ParseInt(text, 10, 64)
		check(err)
		path, err := tlog.ProveRecord(size, index, reader)
		check(err)
		check(tlog.CheckRecord(path, size, root, index, tlog.RecordHash(entry(folder, index, size))))
		records[text] = path
	}
	out["records"] = records
	private, public, err := note.GenerateKey(rand.Reader, "go.example/log")
	check(err)
	signer, err := note.NewSigner(private)
	check(err)
	signed, err := note.Sign(&note.Note{Text: opened.Text}, signer)
	check(err)
	out["key"] = public
	out["note"] = signed
	check(json.NewEncoder(os.Stdout).Encode(out))
}
