package app

import "runtime/debug"

// Stamped into images with -ldflags -X: what is built from an archive of the source knows of
// no version control.
var stampedVersion, stampedRevision string

// Version is what was built: a version of the module and a revision of its source, as far as
// they are known.
func Version() (version, revision string) {
	version, revision = "devel", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	if stampedVersion != "" {
		version = stampedVersion
	}
	if stampedRevision != "" {
		revision = stampedRevision
	}
	return version, revision
}
