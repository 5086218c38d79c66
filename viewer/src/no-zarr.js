// Stands in for zarrita, which NiiVue reads chunked files with: a report embeds NIfTI only.
export {}
