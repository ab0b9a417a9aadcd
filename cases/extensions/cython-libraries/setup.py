import sysconfig

from Cython.Build import cythonize
from setuptools import Extension, setup

# The mistake: what `python3-config --embed --libs` says is for programs, not for modules.
libpython = f"python{sysconfig.get_config_var('LDVERSION')}"
module = Extension("cython_libraries", ["cython_libraries.pyx"], libraries=[libpython])

setup(ext_modules=cythonize([module]))
