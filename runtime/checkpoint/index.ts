/** Checkpoints, number formats, tokenizers and texts: everything that the runtime reads from and writes to disk. */
export { type DataType, dataTypes, fromFloat32, isDataType, toFloat32 } from "./data-type.ts";
export { decoders } from "./decode.ts";
export { resolveFolder } from "./hub-folder.ts";
export { readJsonObject } from "./json-file.ts";
export { findBuffer } from "./known-buffers.ts";
export { narrowBf16, narrowF16, widenBf16, widenF16 } from "./half.ts";
export { type FileFacts, openSafetensors, type ReadOptions, type SafetensorsFile } from "./safetensors.ts";
export { CHECKPOINT, PROVENANCE_NAME } from "./own-files.ts";
export { byteSize, encodeHeader, type TensorSpec } from "./safetensors-header.ts";
export { type Checkpoint, openCheckpoint, type StoredTensor } from "./store.ts";
export {
  DOCUMENT_SEPARATOR,
  encodeDocuments,
  loadTokens,
  type LoadTokensOptions,
  type TokenFormat,
} from "../tokenizer/text.ts";
export { loadTokenizer, type StreamDecoder, type Tokenizer } from "../tokenizer/tokenizer.ts";
export { type CheckpointWriter, createCheckpoint, type WriterOptions } from "./write.ts";
