//! The products that are served: one line each.

use policy::product::Product;

use super::face_verify::FaceVerify;
use super::product::Served;
use super::verify_result::VerifyResult;

/// The product with this name.
pub(super) fn serving(product: Product) -> &'static dyn Served {
    match product {
        Product::VerifyResult => &VerifyResult,
        Product::FaceVerify => &FaceVerify,
    }
}
