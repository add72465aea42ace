package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"esimflow/internal/app"
	"esimflow/migrations"
)

// versionView is what version prints.
type versionView struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	Schema   int64  `json:"schema"` // the version that this program needs
}

func newVersionCommand(c *cli) *cobra.Command {
	var sbom string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say what this is, and what it is made of",
		Long: `Say which version this is, and which version of the schema belongs to it.

With --sbom it prints a bill of materials as CycloneDX 1.6, from what the linker has written into
the program: every module with its version and checksum. --sbom=FILE reads another program, worker
or publisher, say.`,
		Example: `  esimctl version --sbom=/usr/local/bin/worker > worker.cdx.json`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("sbom") {
				return c.sbom(sbom)
			}
			return c.version()
		},
	}
	cmd.Flags().StringVar(&sbom, "sbom", "", "print a bill of materials, of this program or of a file")
	cmd.Flags().Lookup("sbom").NoOptDefVal = self
	return cmd
}

// self stands for the program that is running.
const self = "-"

func (c *cli) version() error {
	v := versionView{Schema: migrations.Latest()}
	v.Version, v.Revision = app.Version()
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Go = info.GoVersion
	}
	return c.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "esimflow %s\nrevision %s\n%s\nschema %d\n", v.Version, v.Revision, v.Go, v.Schema)
		return err
	})
}

// sbom prints the bill of materials of a program, which is JSON in any case.
func (c *cli) sbom(path string) error {
	var info *debug.BuildInfo
	if path == self {
		own, ok := debug.ReadBuildInfo()
		if !ok {
			return errors.New("this program was built without modules")
		}
		info = own
		info.Main.Version, _ = app.Version()
	} else {
		read, err := buildinfo.ReadFile(path)
		if err != nil {
			return err
		}
		info = read
	}
	return c.printJSON(billOf(info))
}
