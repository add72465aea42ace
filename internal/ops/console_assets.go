package ops

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
)

//go:embed console
var consoleFiles embed.FS

const assetsDir = "console/assets/"

// assetVersions are short digests of what pages load, by name.
func assetVersions() map[string]string {
	entries, err := consoleFiles.ReadDir("console/assets")
	if err != nil {
		panic(err) // the directory is embedded
	}
	versions := map[string]string{}
	for _, e := range entries {
		content, err := consoleFiles.ReadFile(assetsDir + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		versions[e.Name()] = hex.EncodeToString(sum[:4])
	}
	return versions
}

// serveAsset serves what pages load, and nothing else. It may be kept, unless a page of another
// version asks for it: while workers are upgraded, either may be asked for the other's.
func serveAsset(w http.ResponseWriter, r *http.Request, versions map[string]string) {
	name := r.PathValue("name")
	version, known := versions[name]
	if !known {
		http.NotFound(w, r)
		return
	}
	if asked := r.URL.Query().Get("v"); asked == "" || asked == version {
		w.Header().Set("Cache-Control", "public, max-age=3600")
	}
	http.ServeFileFS(w, r, consoleFiles, assetsDir+name)
}
