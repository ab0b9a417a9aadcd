from setuptools import Extension, setup

setup(ext_modules=[Extension("setuptools_plain", ["module.c"])])
