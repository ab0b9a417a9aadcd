#!/bin/sh
# build.sh PYTHON MACHINE [argument of uv build ...]
#
# Builds /work/in/project into a wheel in /work/out, for a CPython and a machine, with the build
# requirements in /work/in/requirements.txt and nothing but the wheels in /work/in/wheels.
set -eu
python=$1 machine=$2
shift 2
triplet=$machine-linux-gnu
sdk=/opt/sdk/$machine

export HOME=/work LANG=C.UTF-8 TMPDIR=/work
# The same sources give the same wheel, as far as the back end keeps to this.
export SOURCE_DATE_EPOCH=1735689600
export UV_NO_CONFIG=1 UV_NO_CACHE=1 UV_OFFLINE=1 UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
uv venv --quiet --python "/opt/python/bin/python$python" /work/venv
uv pip install --quiet --python /work/venv/bin/python --link-mode copy \
    --no-index --find-links /work/in/wheels --requirement /work/in/requirements.txt
# Back ends write beside the sources.
cp -R /work/in/project /work/project
PATH=/work/venv/bin:$PATH

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

cat > /work/cross.ini <<END
[binaries]
c = '$CC'
cpp = '$CXX'
ar = '$triplet-gcc-ar'
strip = '$triplet-strip'
pkg-config = 'pkgconf'
python = '/work/venv/bin/python'
[properties]
pkg_config_libdir = '$sdk/lib/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = '$machine'
cpu = '$machine'
endian = 'little'
END

# maturin and PyO3; the configuration is in the image that has a Rust tool chain.
export CARGO_BUILD_TARGET="$machine-unknown-linux-gnu" CARGO_HOME=/work/cargo
export PYO3_CROSS_LIB_DIR="$sdk/lib" PYO3_CROSS_PYTHON_VERSION="$python"
if [ -e /opt/pbs-matrix/cargo.toml ]; then
    mkdir /work/cargo
    cp /opt/pbs-matrix/cargo.toml /work/cargo/config.toml
fi

exec uv build --wheel --no-build-isolation --python /work/venv/bin/python \
    --out-dir /work/out "$@" /work/project
