#!/bin/sh
# build.sh PYTHON MACHINE [argument of uv build ...]
#
# Builds /build/in/project into a wheel in /build/out, for a CPython and a machine, with the build
# requirements in /build/in/requirements.txt and nothing but the wheels in /build/in/wheels.
set -eu
python=$1 machine=$2
shift 2
triplet=$machine-linux-gnu
sdk=/opt/sdk/$machine

export HOME=/build LANG=C.UTF-8 TMPDIR=/build
# The same sources give the same wheel, as far as the back end keeps to this.
export SOURCE_DATE_EPOCH=1735689600
export UV_NO_CONFIG=1 UV_NO_CACHE=1 UV_OFFLINE=1 UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
uv venv --quiet --python "/opt/python/bin/python$python" /build/venv
uv pip install --quiet --python /build/venv/bin/python --link-mode copy \
    --no-index --find-links /build/in/wheels --requirement /build/in/requirements.txt
# Back ends write beside the sources.
cp -R /build/in/project /build/project
PATH=/build/venv/bin:$PATH

# What setuptools, and whoever else asks sysconfig, takes for the CPython that builds: its name of
# the platform, its compilers, its headers. CPython's own cross builds use the same variables.
export _PYTHON_HOST_PLATFORM="linux-$machine"
export _PYTHON_SYSCONFIGDATA_PATH="$sdk/lib/python$python"
export _PYTHON_SYSCONFIGDATA_NAME="_sysconfigdata__$triplet"
export CC="$triplet-gcc" CXX="$triplet-g++"

export TARGET_MACHINE="$machine" TARGET_PYTHON="$python" TARGET_SDK="$sdk"
TARGET_SOABI=cpython-$(echo "$python" | tr -d .)-$triplet
export TARGET_SOABI
# Not as many compilers as the machine has processors: the container's memory is limited.
export CMAKE_TOOLCHAIN_FILE=/opt/pbs-matrix/toolchain.cmake CMAKE_BUILD_PARALLEL_LEVEL=2

cat > /build/cross.ini <<END
[binaries]
c = '$CC'
cpp = '$CXX'
ar = '$triplet-gcc-ar'
strip = '$triplet-strip'
pkg-config = 'pkgconf'
python = '/build/venv/bin/python'
[properties]
pkg_config_libdir = '$sdk/lib/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = '$machine'
cpu = '$machine'
endian = 'little'
END

# maturin and PyO3; the configuration is in the image that has a Rust tool chain.
export CARGO_BUILD_TARGET="$machine-unknown-linux-gnu" CARGO_HOME=/build/cargo
export PYO3_CROSS_LIB_DIR="$sdk/lib" PYO3_CROSS_PYTHON_VERSION="$python"
if [ -e /opt/pbs-matrix/cargo.toml ]; then
    mkdir /build/cargo
    cp /opt/pbs-matrix/cargo.toml /build/cargo/config.toml
fi

exec uv build --wheel --no-build-isolation --python /build/venv/bin/python \
    --out-dir /build/out "$@" /build/project
