"""Groups of models, which team may use which, resolution, prices; `gateway` is the only way to LiteLLM."""
