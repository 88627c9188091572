"""The model file and what it runs on: sessions of ONNX Runtime, devices and their options. Begin with `model`."""
