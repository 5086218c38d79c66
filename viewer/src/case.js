// One case as NiiVue images on one grid: what was given (before, after, label), and what is shown of it (shown).
// Of several channels one is there at a time; `facts` are the case's, with those of that channel.
import { NVImage } from '@niivue/niivue'

const FLOAT32 = 16 // NIfTI-1 datatype code

export class LoadedCase {
  /** Decodes a case; `volumes` holds NIfTI files (gzip, base64) by the names that cases give. */
  static async of(facts, volumes) {
    const loaded = new LoadedCase()
    loaded.volumes = volumes
    loaded.facts = facts
    await loaded.choose(0)
    loaded.label = facts.label && (await loaded.read(facts.label))
    loaded.shown = await loaded.read(facts.before.volume)
    loaded.shown.hdr.datatypeCode = FLOAT32
    loaded.shown.hdr.numBitsPerVoxel = 32
    loaded.shown.hdr.scl_slope = 1
    loaded.shown.hdr.scl_inter = 0
    loaded.shown.img = new Float32Array(loaded.before.img.length)
    return loaded
  }

  read(name) {
    return NVImage.loadFromBase64({ base64: this.volumes[name], name: `${name}.nii.gz` })
  }

  get channels() {
    return this.facts.channels ?? [this.facts]
  }

  /** Takes another channel; of two chosen quickly, the later one stays. */
  async choose(number) {
    const facts = { ...this.facts, ...this.channels[number] }
    this.asked = facts
    const images = [await this.read(facts.before.volume), await this.read(facts.after.volume)]
    if (this.asked !== facts) return
    this.facts = facts
    ;[this.before, this.after] = images
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
