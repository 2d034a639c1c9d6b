"""One network inside one engine: eager, compiled, ONNX Runtime, OpenVINO."""
