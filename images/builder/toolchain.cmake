# How CMake crosses: the compilers, and the CPython to build against, which FindPython cannot ask
# the interpreter for when that is not the one that will load the module. Set for the host's own
# platform as well, so that both are built alike.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR "$ENV{TARGET_MACHINE}")
set(CMAKE_C_COMPILER "$ENV{CC}")
set(CMAKE_CXX_COMPILER "$ENV{CXX}")
foreach(prefix Python Python3)
  set(${prefix}_EXECUTABLE /build/venv/bin/python)
  set(${prefix}_INCLUDE_DIR "$ENV{TARGET_SDK}/include/python$ENV{TARGET_PYTHON}")
  set(${prefix}_LIBRARY "$ENV{TARGET_SDK}/lib/libpython$ENV{TARGET_PYTHON}.so")
  set(${prefix}_SOABI "$ENV{TARGET_SOABI}")
endforeach()
