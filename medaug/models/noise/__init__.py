"""Images from noise: a class-conditional GAN (`dcgan`), tools for its latent space (`latent`), its weights on disk."""
