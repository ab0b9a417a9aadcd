import sysconfig

from setuptools import Extension, setup

# The mistake: libpython named like any other library.
libpython = f"python{sysconfig.get_config_var('LDVERSION')}"

setup(ext_modules=[Extension("setuptools_libraries", ["module.c"], libraries=[libpython])])
