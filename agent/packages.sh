# Installs conda packages, with whichever of micromamba, mamba and conda is there, and then becomes the command that it is
# given: sh -c SCRIPT wherry NOTES PREFIX PACKAGES COMMAND... What it did it writes into the file NOTES.
notes=$1 prefix=$2 packages=$3
shift 3
installer=
for name in micromamba mamba conda; do
  installer=$(command -v "$name") && break
done
if [ -z "$installer" ]; then
  echo missing >>"$notes"
  exit 1
fi
doing=create
[ -d "$prefix/conda-meta" ] && doing=install
set -f # a * in the version of a package is none of the shell's
if ! "$installer" "$doing" --yes --prefix "$prefix" -c conda-forge -c bioconda $packages </dev/null; then
  echo failed >>"$notes"
  exit 1
fi
set +f
echo installed >>"$notes"
PATH=$prefix/bin:$PATH
export PATH
exec "$@"
