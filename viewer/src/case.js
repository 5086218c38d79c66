// One case as NiiVue images on one grid: what was given (before, after, label), and what is shown of it (shown).
import { NVImage } from '@niivue/niivue'

const FLOAT32 = 16 // NIfTI-1 datatype code

export class LoadedCase {
  /** Decodes a case; `volumes` holds NIfTI files (gzip, base64) by the names that cases give. */
  static async of(facts, volumes) {
    const read = (name) => NVImage.loadFromBase64({ base64: volumes[name], name: `${name}.nii.gz` })
    const loaded = new LoadedCase()
    loaded.facts = facts
    loaded.before = await read(facts.before.volume)
    loaded.after = await read(facts.after.volume)
    loaded.label = facts.label && (await read(facts.label))
    loaded.shown = await read(facts.before.volume)
    loaded.shown.hdr.datatypeCode = FLOAT32
    loaded.shown.hdr.numBitsPerVoxel = 32
    loaded.shown.hdr.scl_slope = 1
    loaded.shown.hdr.scl_inter = 0
    loaded.shown.img = new Float32Array(loaded.before.img.length)
    return loaded
  }

  /** Shows a blend, 0 (before) to 1 (after), each image in its own grey window, which becomes 0 to 1. */
  showBlend(share) {
    const { before, after } = this.facts
    this.mix(inWindow(this.before, before, 1 - share), inWindow(this.after, after, share))
    this.shown.cal_min = 0
    this.shown.cal_max = 1
  }

  /** Shows after − before in their own unit. */
  showDifference() {
    const [a, b] = [this.before.hdr, this.after.hdr]
    this.mix({ slope: -a.scl_slope, offset: -a.scl_inter }, { slope: b.scl_slope, offset: b.scl_inter })
    this.shown.cal_min = -this.facts.difference
    this.shown.cal_max = this.facts.difference
  }

  mix(first, second) {
    const [before, after, shown] = [this.before.img, this.after.img, this.shown.img]
    const offset = first.offset + second.offset
    for (let i = 0; i < shown.length; i++) shown[i] = before[i] * first.slope + after[i] * second.slope + offset
  }
}

/** The linear map from stored values to `weight` times their place in the window. */
function inWindow(image, { low, high }, weight) {
  const scale = weight / (high - low)
  return { slope: image.hdr.scl_slope * scale, offset: (image.hdr.scl_inter - low) * scale }
}
