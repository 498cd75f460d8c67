//! Golden cases: `testdata/render/<case>.in.yaml` is a model, `<case>.out.yaml` what Envoy gets for it.
