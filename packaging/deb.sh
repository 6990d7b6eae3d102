#!/usr/bin/env bash
# Builds a Debian package: deb.sh BINARY VERSION ARCH FOLDER. VERSION is what "git describe" says. The same input gives the same
# bytes, with the time in SOURCE_DATE_EPOCH. Prints the package's path.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# = 4 ] || { sed -n 2,3p "${BASH_SOURCE[0]}" >&2; exit 2; }
binary=$1 version=$2 arch=$3 folder=$4

# A version of Debian begins with a digit and has no "-" here, because there is no revision: v1.2-3-gabc is 1.2+3+gabc, and a commit
# without a tag comes before every release, the later one after the earlier.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0}
version=${version#v}
version=${version//-/+}
[[ $version =~ ^[0-9]+\. ]] || version="0~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$version"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
umask 022
install -D -m 755 "$binary" "$root/usr/bin/wherry"
install -D -m 644 "$here/wherry.service" "$root/usr/lib/systemd/system/wherry.service"
install -D -m 640 "$here/wherry.env" "$root/etc/wherry/wherry.env"
install -D -m 644 "$here/cloud-only.conf" "$root/usr/share/doc/wherry/cloud-only.conf"
for page in operating security asvs inventory; do
  install -D -m 644 "$here/../docs/$page.md" "$root/usr/share/doc/wherry/$page.md"
done

mkdir "$root/DEBIAN"
for script in postinst prerm postrm; do
  install -m 755 "$here/debian/$script" "$root/DEBIAN/$script"
done
echo /etc/wherry/wherry.env >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<CONTROL
Package: wherry
Version: $version
Architecture: $arch
Maintainer: Wherry <wherry@localhost>
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Depends: adduser
Recommends: ca-certificates
Suggests: default-jre-headless (>= 2:1.17)
Section: science
Priority: optional
Description: portal that runs Nextflow pipelines, one machine for each run
 Wherry is one program with one SQLite database. It runs pipelines on EC2 instances of their own or on
 its own host, shows them live, and leaves nothing behind.
CONTROL
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$folder"
out=$folder/wherry_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$out" >&2
echo "$out"
